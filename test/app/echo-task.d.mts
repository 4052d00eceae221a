// Types of echo-task.mjs, which dist/ and tests read.

/** Adds the row `echo` to the table of src/engine/tasks.ts or of dist/engine/tasks.js. */
export function addEcho(tasks: object): void
