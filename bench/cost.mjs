// Prices and assumptions below -> the cost table of docs/deploy.md: node bench/cost.mjs
//
// Prices are US dollars, us-east-1, without free tier and tax, from memory or blogs as docs/deploy.md says. Replace them.

const PRICE = {
  lambdaGbSecond: 0.0000166667,
  lambdaMillion: 0.2,
  httpApiMillion: 1,
  sqsFifoMillion: 0.5,
  s3WritesThousand: 0.005,
  s3ReadsThousand: 0.0004,
  logGb: 0.5,
  alarm: 0.1,
  metric: 0.3,
  mlG5Xlarge: 1.4,
  g6Xlarge: 0.8,
  managedInstances: 1.15,
  cloudRunL4: 0.67,
}
/** One question: Slack events, seconds of functions, S3 requests, kilobytes of log. */
const QUESTION = { events: 2, edgeSeconds: 0.5, answerSeconds: 3, writes: 15, reads: 25, logKb: 4 }
const ALARMS = 13
const METRICS = 30
const HOURS = 720
/** Minutes that a started instance is paid for: its start, the time until scale-in, and the cooldown. */
const AWAKE = { sagemaker: 25, cloudRun: 15 }
const CPU = { gb: 10, seconds: 30, loadSeconds: 60 }

const USES = [
  { name: '20 a day, in 4 bursts', questions: 600, bursts: 120, activeHours: 0, metricHours: 120 },
  { name: '500 a day, over 10 hours', questions: 15_000, bursts: 0, activeHours: 300, metricHours: 300 },
  { name: '10,000 a day', questions: 300_000, bursts: 0, activeHours: 720, metricHours: 720 },
]

function rowsOf({ questions, bursts, activeHours, metricHours }) {
  const { events, edgeSeconds, answerSeconds, writes, reads, logKb } = QUESTION
  // Lambda polls the queue constantly: five pollers, 20 s long polling each.
  const polls = (5 * HOURS * 3600) / 20
  const common =
    questions * events * edgeSeconds * 1 * PRICE.lambdaGbSecond +
    (questions * (events + 1) * PRICE.lambdaMillion) / 1e6 +
    (questions * events * PRICE.httpApiMillion) / 1e6 +
    ((polls + questions * 3) * PRICE.sqsFifoMillion) / 1e6 +
    (questions * writes * PRICE.s3WritesThousand) / 1e3 +
    (questions * reads * PRICE.s3ReadsThousand) / 1e3 +
    (questions * logKb * PRICE.logGb) / 1e6
  const answer = (gb) => questions * answerSeconds * gb * PRICE.lambdaGbSecond
  // A metric costs only in hours in which it is written.
  const watched = ALARMS * PRICE.alarm + (METRICS * PRICE.metric * metricHours) / HOURS
  const awake = (minutes) => Math.min(HOURS, activeHours + (bursts * minutes) / 60)
  const onCpu = questions * CPU.seconds * CPU.gb + (bursts + activeHours) * CPU.loadSeconds * CPU.gb
  return {
    'functions, API, queue, S3, logs': common + answer(0.5),
    'alarms and metrics': watched,
    'embedded, in all': common + answer(1.73) + watched,
    'sagemaker, warm=0': awake(AWAKE.sagemaker) * PRICE.mlG5Xlarge,
    'sagemaker, warm=1': HOURS * PRICE.mlG5Xlarge,
    'lambda, warm=1': HOURS * PRICE.g6Xlarge * PRICE.managedInstances,
    'url: Cloud Run, L4': awake(AWAKE.cloudRun) * PRICE.cloudRunL4,
    none: onCpu * PRICE.lambdaGbSecond,
  }
}

const columns = USES.map(rowsOf)
console.log(
  `| US$ a month | ${USES.map(({ name }) => name).join(' | ')} |\n|---|${'---:|'.repeat(USES.length)}`,
)
for (const row of Object.keys(columns[0])) {
  console.log(
    `| ${row} | ${columns.map((column) => column[row].toFixed(column[row] < 10 ? 1 : 0)).join(' | ')} |`,
  )
}
