/** Numbers read from a file's bytes, little endian, of which nothing is trusted. */

/** A file is not laid out as needed; the message says in one line what differs. */
export class LayoutError extends Error {
  override name = "LayoutError";
}

/** An unsigned 8-bit number. Throws LayoutError if it is not in the file, like all functions here. */
export function u8(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 1, what).getUint8(0);
}

/** An unsigned 16-bit number. */
export function u16(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 2, what).getUint16(0, true);
}

/** An unsigned 32-bit number. */
export function u32(bytes: Uint8Array, offset: number, what: string): number {
  return view(bytes, offset, 4, what).getUint32(0, true);
}

/** An unsigned 64-bit number that may be anything. */
export function word(bytes: Uint8Array, offset: number, what: string): bigint {
  return view(bytes, offset, 8, what).getBigUint64(0, true);
}

/** An unsigned 64-bit number that is to be an address, an offset or a size. */
export function u64(bytes: Uint8Array, offset: number, what: string): number {
  return exact(word(bytes, offset, what), what);
}

/** A signed 64-bit number that is to be a distance between addresses. */
export function i64(bytes: Uint8Array, offset: number, what: string): number {
  return exact(BigInt.asIntN(64, word(bytes, offset, what)), what);
}

/** The text at an offset of a string table, up to its NUL. */
export function text(table: Uint8Array, offset: number, what: string): string {
  const end = offset < table.length ? table.indexOf(0, offset) : -1;
  if (end < 0) throw new LayoutError(`${what} is not in the string table`);
  return new TextDecoder("latin1").decode(table.subarray(offset, end));
}

/** A number as it stands in messages and in the texts for the tools. */
export function hex(value: number): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
}

function view(
  bytes: Uint8Array,
  offset: number,
  size: number,
  what: string,
): DataView {
  if (offset + size > bytes.length)
    throw new LayoutError(
      `${what}: offset ${hex(offset)} is beyond the file's ${hex(bytes.length)} bytes`,
    );
  return new DataView(bytes.buffer, bytes.byteOffset + offset, size);
}

/** Addresses and sizes of real programs are far below 2^53; what is not, is damage. */
function exact(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number))
    throw new LayoutError(`${what} is impossible: 0x${value.toString(16)}`);
  return number;
}
