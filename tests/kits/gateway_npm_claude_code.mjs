// Claude Code against the gateway: `node client.mjs CASE URL`, with URL ending in /v1. `other vendor` is a model of OpenAI.
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [test, url] = process.argv.slice(2);
const folder = dirname(fileURLToPath(import.meta.url));
const home = mkdtempSync(join(folder, "home-"));
const model = test === "other vendor" ? "fast" : "claude";
const env = {
  PATH: process.env.PATH,
  HOME: home,
  ANTHROPIC_BASE_URL: url.replace(/\/v1$/, ""),
  ANTHROPIC_AUTH_TOKEN: "llmcore-00000000-of-a-client",
  ANTHROPIC_MODEL: model,
  ANTHROPIC_SMALL_FAST_MODEL: model,
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
  DISABLE_AUTOUPDATER: "1",
};
const options = { cwd: home, env, encoding: "utf8", input: "", timeout: 90_000 };
const done = spawnSync(join(folder, "node_modules/.bin/claude"), ["-p", "Hello"], options);
const said = done.stdout + done.stderr;
assert.equal(done.status, 0, said);
assert.match(done.stdout, /This is a simulated answer to/);
