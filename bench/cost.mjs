// Assumptions below -> what Glimpse uses on AWS in a month, the table of docs/deploy.md: node bench/cost.mjs
//
// Quantities only: prices differ by region and change. docs/deploy.md has the addresses of the price lists.

/** One question: Slack events, GB-seconds of functions, S3 requests, kilobytes of log. Assumed, not measured. */
const QUESTION = { events: 2, edgeGbSeconds: 0.5, answerSeconds: 3, writes: 15, reads: 25, logKb: 4 }
/** With a SageMaker endpoint: two deliveries of about a second each, and a notice. */
const NOTIFIED_SECONDS = 2
const ALARMS = 18
/** Names of src/observe/metrics.ts, once for each function that may write them: src/observe/emf.ts. */
const METRICS =
  8 * 2 + // of the engine: http, answer
  5 + // of HTTP: http
  2 + // glimpse_webhooks_total: slack, discord
  2 + // of replies: answer
  6 + // glimpse_faults_total: every function
  4 // glimpse_queue_messages_total: slack, discord, answer, notice
const HOURS = 720
/** Minutes that a started instance stays up: its start, the time until scale-in, and the cooldown. */
const AWAKE = { sagemaker: 25, cloudRun: 15 }
const CPU = { gb: 10, seconds: 30, loadSeconds: 60 }
const GB = { small: 0.5, embedded: 1.73 }

const USES = [
  { name: '20 a day, in 4 bursts', questions: 600, bursts: 120, activeHours: 0 },
  { name: '500 a day, over 10 hours', questions: 15_000, bursts: 0, activeHours: 300 },
  { name: '10,000 a day', questions: 300_000, bursts: 0, activeHours: 720 },
]

function rowsOf({ questions, bursts, activeHours }) {
  const { events, edgeGbSeconds, answerSeconds, writes, reads, logKb } = QUESTION
  // Lambda polls the queue constantly: five pollers, 20 s long polling each.
  const polls = (5 * HOURS * 3600) / 20
  const edge = questions * events * edgeGbSeconds
  const awake = (minutes) => Math.min(HOURS, activeHours + (bursts * minutes) / 60)
  return {
    'HTTP API, requests': questions * events,
    'SQS FIFO, requests': polls + questions * 4,
    'S3, writes': questions * writes,
    'S3, reads': questions * reads,
    'logs, GB': (questions * logKb) / 1e6,
    'alarms; metrics at most': `${ALARMS}; ${METRICS}`,
    'Lambda GB-s, embedded': edge + questions * answerSeconds * GB.embedded,
    'Lambda GB-s, sagemaker': edge + questions * NOTIFIED_SECONDS * GB.small,
    'Lambda GB-s, lambda and url': edge + questions * answerSeconds * GB.small,
    'Lambda GB-s, none':
      edge +
      questions * CPU.seconds * (CPU.gb + GB.small) +
      (bursts + activeHours) * CPU.loadSeconds * CPU.gb,
    'SQS standard, requests, sagemaker': polls + questions * 3,
    'GPU hours, sagemaker, warm=0': awake(AWAKE.sagemaker),
    'GPU hours, sagemaker or lambda, warm=1': HOURS,
    'GPU hours, url: Cloud Run': awake(AWAKE.cloudRun),
  }
}

const shown = (value) =>
  typeof value === 'string' ? value : value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en')

const columns = USES.map(rowsOf)
console.log(
  `| in a month | ${USES.map(({ name }) => name).join(' | ')} |\n|---|${'---:|'.repeat(USES.length)}`,
)
for (const row of Object.keys(columns[0]))
  console.log(`| ${row} | ${columns.map((column) => shown(column[row])).join(' | ')} |`)
