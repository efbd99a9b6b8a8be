/** What Bun 1.4.5 does and its types leave out. */
declare module "bun" {
  /** A socket on an open descriptor: the types have the options, but not the overload that takes them. */
  function connect<Data = undefined>(
    options: FdSocketOptions<Data>,
  ): Promise<Socket<Data>>;
}
export {};
