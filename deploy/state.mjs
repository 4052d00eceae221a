// deploy/state.yml -> the same bucket and queues as a template of CloudFormation, for processes that are no functions (Kubernetes,
// two machines), with a policy for their role. docs/kubernetes.md has the steps.
//
//   node deploy/state.mjs glimpse > glimpse-state.yml          names the queue glimpse-questions.fifo

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

const read = (name) => readFileSync(join(import.meta.dirname, name), 'utf8')
/** Seconds. `glimpse work` sets the time of each message itself; until it has, a message is hidden for so long. */
const VISIBILITY_S = 60
const MORE = `
  Questions:
    Description: GLIMPSE_QUEUE
    Value: !Ref Questions
  Policy:
    Description: Policy for the role of the processes
    Value: !Ref Policy
`
const POLICY = `
  # Permissions of \`glimpse listen\`, \`work\` and \`serve\`; \`glimpse push\` needs s3:AbortMultipartUpload too.
  Policy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Action:
              - sqs:SendMessage
              - sqs:ReceiveMessage
              - sqs:DeleteMessage
              - sqs:ChangeMessageVisibility
              - sqs:GetQueueAttributes
            Resource: !GetAtt Questions.Arn
          - Effect: Allow
            Action: [s3:GetObject, s3:PutObject, s3:DeleteObject]
            Resource: !Sub \${StateBucket.Arn}/*
          # Makes S3 answer 404 for a missing key, instead of 403.
          - Effect: Allow
            Action: s3:ListBucket
            Resource: !GetAtt StateBucket.Arn
`

const [, , name] = process.argv
if (!/^[\w-]+$/.test(name ?? '')) {
  console.error('Expected a name for the queue: node deploy/state.mjs glimpse')
  process.exit(1)
}
const params = parse(read('defaults.yml'))
const template = read('state.yml')
  .replaceAll(/\$\{self:service\}-\$\{sls:stage\}/g, name)
  .replaceAll(/\$\{self:custom\.gpu\.answer\.visibility\}/g, String(VISIBILITY_S))
  .replaceAll(/\$\{param:(\w+)\}/g, (_, key) => String(params[key]))
  .replace(/\nOutputs:/, `${POLICY}\nOutputs:`)
console.log(`${template.trimEnd()}${MORE}`)
