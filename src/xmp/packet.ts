// An XMP packet and an alt text -> the packet with the text in it. Everything else in the packet stays.
//
//   <x:xmpmeta><rdf:RDF><rdf:Description>
//     <Iptc4xmpCore:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default">a dog</rdf:li></rdf:Alt>...
//
// Sources: XMP specification part 1 (ISO 16684-1), sections 7 and 8.2.2.4; IPTC Photo Metadata Standard 2021.1.

import { DOMImplementation, DOMParser, type Element, XMLSerializer } from '@xmldom/xmldom'
import { RequestError } from '../errors.ts'

const RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'
const X = 'adobe:ns:meta/'
const XML = 'http://www.w3.org/XML/1998/namespace'
const XMLNS = 'http://www.w3.org/2000/xmlns/'
const DEFAULT = 'x-default'

interface Property {
  namespace: string
  prefix: string
  name: string
}
const ALT_TEXT: Property = {
  namespace: 'http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/',
  prefix: 'Iptc4xmpCore',
  name: 'AltTextAccessibility',
}
const DESCRIPTION: Property = {
  namespace: 'http://purl.org/dc/elements/1.1/',
  prefix: 'dc',
  name: 'description',
}
const NOTE = { namespace: 'http://ns.adobe.com/xmp/note/', name: 'HasExtendedXMP' }
/** What the wrapper of every packet has (part 1, section 7.3.2). */
const BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
const END = '\n<?xpacket end="w"?>'
/** Characters that XML 1.0 has no place for. */
const NOT_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu

export interface Packet {
  /** The alt text that it has; undefined if there is none. */
  altText: string | undefined
  /**
   * The packet with this alt text, as UTF-8. A description is set too, unless there is one.
   * @param replacing a text of the packet: a description that is equal to it is replaced
   */
  withAltText(text: string, replacing?: string): Buffer
}

/** @param bytes absent: a new packet. @throws RequestError `cannot_write` when it cannot be read or is split */
export function openPacket(bytes?: Uint8Array): Packet {
  const root = bytes ? parsed(bytes) : emptyRoot()
  const rdf = root.namespaceURI === RDF ? root : root.getElementsByTagNameNS(RDF, 'RDF').item(0)
  if (rdf?.localName !== 'RDF') throw unreadable('it has no rdf:RDF')
  const descriptions = childrenOf(rdf, RDF, 'Description')
  if (descriptions.some((each) => hasProperty(each, NOTE)))
    throw unreadable('it is one of several parts (extended XMP)')
  const altText = textOf(descriptions, ALT_TEXT)
  return {
    altText,
    withAltText(text, replacing) {
      const words = text.replace(NOT_XML, '')
      set(rdf, descriptions, ALT_TEXT, words)
      const description = textOf(descriptions, DESCRIPTION)
      if (description === undefined || description === replacing) set(rdf, descriptions, DESCRIPTION, words)
      return Buffer.from(`${BEGIN}${new XMLSerializer().serializeToString(root)}${END}`)
    },
  }
}

function parsed(bytes: Uint8Array): Element {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw unreadable('it is not UTF-8')
  }
  if (/<!DOCTYPE/i.test(text)) throw unreadable('it has a document type')
  let fault: string | undefined
  const parser = new DOMParser({
    onError(level, message) {
      if (level !== 'warning') fault ??= message
    },
  })
  try {
    // The packet may end in zeros, with which some writers pad it.
    const { documentElement } = parser.parseFromString(text.replace(/\0+$/, '').trim(), 'text/xml')
    if (documentElement && fault === undefined) return documentElement
  } catch (error) {
    fault ??= (error as Error).message
  }
  throw unreadable(`it is not well-formed (${(fault ?? 'it is empty').split('\n')[0]})`)
}

function emptyRoot(): Element {
  const document = new DOMImplementation().createDocument(X, 'x:xmpmeta')
  const rdf = document.createElementNS(RDF, 'rdf:RDF')
  document.documentElement!.appendChild(rdf)
  return document.documentElement!
}

/** The default text of a property, else its first; undefined if it is absent or empty. */
function textOf(descriptions: readonly Element[], property: Property): string | undefined {
  for (const description of descriptions) {
    const short = description.getAttributeNS(property.namespace, property.name)?.trim()
    if (short) return short
    for (const element of childrenOf(description, property.namespace, property.name)) {
      const items = Array.from(element.getElementsByTagNameNS(RDF, 'li'))
      const item = items.find((li) => li.getAttributeNS(XML, 'lang') === DEFAULT) ?? items[0]
      const text = (item ?? element).textContent?.trim()
      if (text) return text
    }
  }
  return undefined
}

/** Sets the default text of a property. Texts in other languages stay. */
function set(rdf: Element, descriptions: Element[], property: Property, text: string): void {
  const { namespace, prefix, name } = property
  const document = rdf.ownerDocument!
  for (const description of descriptions) description.removeAttributeNS(namespace, name)
  let element = descriptions.flatMap((each) => childrenOf(each, namespace, name))[0]
  if (!element) {
    if (descriptions.length === 0) {
      const description = document.createElementNS(RDF, 'rdf:Description')
      description.setAttributeNS(RDF, 'rdf:about', '')
      rdf.appendChild(description)
      descriptions.push(description)
    }
    const [description] = descriptions
    element = document.createElementNS(namespace, `${prefix}:${name}`)
    element.setAttributeNS(XMLNS, `xmlns:${prefix}`, namespace)
    description!.appendChild(element)
  }
  let alternatives = childrenOf(element, RDF, 'Alt')[0]
  if (!alternatives) {
    // A writer may have left the text without alternatives.
    element.textContent = ''
    alternatives = document.createElementNS(RDF, 'rdf:Alt')
    element.appendChild(alternatives)
  }
  let item = childrenOf(alternatives, RDF, 'li').find((li) => li.getAttributeNS(XML, 'lang') === DEFAULT)
  if (!item) {
    item = document.createElementNS(RDF, 'rdf:li')
    item.setAttributeNS(XML, 'xml:lang', DEFAULT)
    // The default comes first (part 1, section 8.2.2.4).
    alternatives.insertBefore(item, alternatives.firstChild)
  }
  item.textContent = text
}

function hasProperty(
  description: Element,
  { namespace, name }: { namespace: string; name: string },
): boolean {
  return description.hasAttributeNS(namespace, name) || childrenOf(description, namespace, name).length > 0
}

function childrenOf(parent: Element, namespace: string, name: string): Element[] {
  return Array.from(parent.childNodes).filter(
    (node): node is Element =>
      node.nodeType === 1 && node.namespaceURI === namespace && (node as Element).localName === name,
  )
}

function unreadable(why: string): RequestError {
  const message = `Expected XMP that can be changed but ${why}. The picture was left as it is. Write the alt text with another program.`
  return new RequestError('cannot_write', message)
}
