export async function svctl(_a: readonly string[]): Promise<number> {
  return 0;
}
