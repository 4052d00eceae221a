// What tsc leaves behind goes to dist/ as it is: the page's files.
import { chmod, cp } from 'node:fs/promises'

await cp('src/serve/page', 'dist/serve/page', { recursive: true })
await chmod('dist/cli/main.js', 0o755)
