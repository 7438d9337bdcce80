// Headless Chromium with WebGPU, as the tests and the benchmark drive it.
import { chromium } from "playwright-core";

export const launch = () =>
  chromium.launch({
    // `cargo xtask` names the browser; by hand, Debian's does.
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless=new",
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-quic",
      "--no-first-run",
      // A name that is no secure origin, for a page that is served without TLS.
      "--host-resolver-rules=MAP studio.test 127.0.0.1",
    ],
  });
