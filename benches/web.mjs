// benches/har_cnn in headless Chromium: node benches/web.mjs FOLDER OPTION…, where FOLDER holds the module and its bindings
// (`cargo xtask bench-web` makes them and calls this). CPU seconds are those of all of the browser's processes.
import { appendFileSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { launch } from "../tests/web/chromium.mjs";

const [folder, ...options] = process.argv.slice(2);
const types = { js: "text/javascript", wasm: "application/wasm" };
const home = "http://127.0.0.1/";

const browser = await launch();
try {
  const system = await browser.newBrowserCDPSession();
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error.message));
  page.on("console", (message) => console.error(message.text()));
  await page.route(`${home}**`, (route) => {
    const name = new URL(route.request().url()).pathname.slice(1);
    if (name === "") return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>bench</title>" });
    return route.fulfill({ contentType: types[name.split(".").pop()], body: readFileSync(`${folder}/${name}`) });
  });
  await page.exposeFunction("print", (line) => console.log(line));
  await page.exposeFunction("append", (path, line) => {
    const row = { ...JSON.parse(line), browser: browser.version(), load: loadavg()[0] };
    appendFileSync(path, `${JSON.stringify(row)}\n`);
  });
  await page.exposeFunction("processorSeconds", async () => {
    const { processInfo } = await system.send("SystemInfo.getProcessInfo");
    return processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
  });
  await page.goto(home);
  console.log(`Chromium ${browser.version()}, load ${loadavg()[0].toFixed(1)}`);
  // A panic of the module leaves a promise that never settles, and is reported as an error of the page.
  const panic = new Promise((_, fail) => page.once("pageerror", fail));
  const done = page.evaluate(async (options) => {
    const { default: init, run } = await import("/har_cnn.js");
    await init();
    await run(options);
  }, options);
  await Promise.race([done, panic]);
} finally {
  await browser.close();
}
