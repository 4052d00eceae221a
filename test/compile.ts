// Compiles src/ once before the tests.

import { execFileSync } from 'node:child_process'

export default function compile(): void {
  execFileSync('npm', ['run', '--silent', 'compile'], { stdio: 'inherit' })
}
