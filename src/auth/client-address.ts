/**
 * Returns the address that logins are counted by: an IPv4 address, or the /64 of an IPv6 address. Anyone with one IPv6
 * address has the 2^64 addresses of a /64 (RFC 6177).
 * @param address as `CF-Connecting-IP` has it; anything but an IPv6 address is returned unchanged
 */
export function limitedAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!/^[\da-f:.]*:[\da-f:.]*$/i.test(address)) return address;
  const [head = '', tail] = address.split('::', 2);
  const front = groupsOf(head);
  const back = tail === undefined ? [] : groupsOf(tail);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...Array.from({ length: zeros }, () => '0'), ...back].slice(0, 4);
  return `${groups.map((group) => group.toLowerCase().replace(/^0+(?=.)/, '')).join(':')}::/64`;
}

/** Splits into groups of 16 bits. An IPv4 address at the end counts as two groups. */
function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]));
}
