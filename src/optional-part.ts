// A part of Glimpse that needs optional packages -> its module, loaded on use. package.json lists the packages in
// `peerDependencies`: an installed Glimpse has them only where its user installed them; a clone has all.

import { SetupError } from './errors.ts'
import { OPTIONAL_PACKAGES } from './versions.ts'

const NOT_FOUND = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND']

/**
 * The module that `load` imports.
 * @param needs what needs the packages, as the message's subject: `Slack`, `A model in S3`
 * @param packages all packages that the part imports
 * @throws SetupError `no_package` when one of them is not installed
 */
export async function loadPart<T>(
  needs: string,
  packages: readonly string[],
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    if (!isMissing(cause, packages)) throw cause
    throw new SetupError('no_package', missing(needs, packages))
  }
}

/** Whether an import failed because one of the packages is not installed. */
export function isMissing(error: unknown, packages: readonly string[]): boolean {
  const { code = '', message } = error as NodeJS.ErrnoException
  return NOT_FOUND.includes(code) && packages.some((name) => message.includes(`'${name}'`))
}

/** The words for packages that are not installed. */
export function missing(needs: string, packages: readonly string[]): string {
  const list = packages.map((name) => wordFor(`${name}@${OPTIONAL_PACKAGES[name] ?? 'latest'}`)).join(' ')
  const [are, them] = packages.length === 1 ? ['a package that is', 'it'] : ['packages that are', 'them']
  return `${needs} needs ${are} not installed. Install ${them}: npm install ${list}`
}

/** Quoted where a shell would read a sign in it, in a way that cmd.exe reads too. */
function wordFor(text: string): string {
  return /^[\w@/.-]+$/.test(text) ? text : `"${text}"`
}

/** What reads or writes a bucket. */
export const S3_PACKAGES = ['@aws-sdk/client-s3', '@aws-sdk/lib-storage', '@aws-sdk/s3-request-presigner']
export const SQS_PACKAGES = ['@aws-sdk/client-sqs']
