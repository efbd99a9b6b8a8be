export async function sysmgrDepends(_a: readonly string[]): Promise<number> {
  return 0;
}
