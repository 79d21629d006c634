// Codex CLI against the gateway: `node client.mjs CASE URL`, with URL ending in /v1. `other vendor` is a model of Anthropic.
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [test, url] = process.argv.slice(2);
const folder = dirname(fileURLToPath(import.meta.url));
const home = mkdtempSync(join(folder, "home-"));
writeFileSync(
  join(home, "config.toml"),
  `model = "${test === "other vendor" ? "claude" : "fast"}"
model_provider = "gateway"
model_reasoning_summary = "none"
web_search = "disabled"
[features]
multi_agent = false
[model_providers.gateway]
name = "gateway"
base_url = "${url}"
env_key = "GATEWAY_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`,
);
const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: home, GATEWAY_KEY: "llmcore-00000000-of-a-client" };
const options = { cwd: home, env, encoding: "utf8", input: "", timeout: 90_000 };
const done = spawnSync(join(folder, "node_modules/.bin/codex"), ["exec", "--skip-git-repo-check", "Hello"], options);
const said = done.stdout + done.stderr;
assert.equal(done.status, 0, said);
assert.match(done.stdout, /This is a simulated answer to: Hello/);
