/** What the daemon needs, for the record: nothing is promised but that it works with that many services. */
import { expect, setDefaultTimeout } from "bun:test";
import { until } from "../integration/sandbox.ts";
import { IDLE, procField, Root, rootTest } from "./root.ts";

setDefaultTimeout(180_000);

/** Milliseconds in which what the start has needed may be given back. */
const SETTLE = 2000;

for (const count of [0, 100, 1000]) {
  rootTest(`the memory of sysmgr with ${count} services`, async () => {
    await using root = new Root();
    for (let index = 0; index < count; index++) root.service(`s${index}`, IDLE);
    await root.bootSysmgr();
    await until(
      () => root.messages().length >= count,
      "all have been started",
      50_000,
    );
    const atFirst = memory(root);
    await Bun.sleep(SETTLE);
    console.log(
      `sysmgr with ${count} services: ${atFirst}; after ${SETTLE / 1000} s ${memory(root)}`,
    );
    expect(root.inhabitants()).toHaveLength(count + 1);
  });
}

function memory(root: Root): string {
  const [own, all] = ["RssAnon", "VmRSS"].map((name) => megabytes(root, name));
  return `${own} MB private, ${all} MB in total`;
}

function megabytes(root: Root, name: string): string {
  const text = procField(root.firstProcess, "status", name) ?? "";
  return (Number.parseInt(text, 10) / 1000).toFixed(1);
}
