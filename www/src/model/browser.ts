/** A function that fills a vector: only a browser whose WebAssembly has SIMD takes it. */
const simd = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 5, 1, 96, 0, 1, 123],
  ...[3, 2, 1, 0],
  ...[10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
);

/** Why the engine's module cannot be loaded here, if it cannot. */
export function unsupported(): string | null {
  if (WebAssembly.validate(simd)) return null;
  return "This browser’s WebAssembly has no SIMD, which the page computes with. Use Chrome or Edge 91, Firefox 89, Safari 16.4, or a later one.";
}

/** What a visitor can do to get WebGPU here. */
export interface Advice {
  missing: string;
  steps: string[];
}

/** Advice for a browser without a usable WebGPU; `secure` is `isSecureContext`. */
export function advice(userAgent: string, secure: boolean, api: boolean): Advice {
  if (!secure)
    return {
      missing: "This address is not secure, so the browser hides WebGPU from it.",
      steps: ["Open the page over https, or on this machine as http://127.0.0.1."],
    };
  const missing = api
    ? "This browser has WebGPU, but found no graphics adapter it may use."
    : "This browser does not offer WebGPU, the interface that lets a page compute on the GPU.";
  return { missing, steps: stepsFor(userAgent, api) };
}

function stepsFor(userAgent: string, api: boolean): string[] {
  const linux = /Linux/.test(userAgent) && !/Android/.test(userAgent);
  if (/iPhone|iPad/.test(userAgent)) return ["Update to iOS or iPadOS 26 or later; WebGPU is on there."];
  if (/Firefox\//.test(userAgent))
    return [
      "Update Firefox: WebGPU is on from version 141 on Windows and 145 on macOS.",
      "Elsewhere, open about:config and set dom.webgpu.enabled to true, then reload.",
    ];
  if (/Android/.test(userAgent)) return ["Use Chrome 121 or later on Android 12 or later."];
  if (/Chrome\//.test(userAgent)) {
    const update = "Update to version 113 or later.";
    const settings = "In the browser's settings under System, turn on graphics acceleration, then restart it.";
    const flag = "Open chrome://flags/#enable-unsafe-webgpu, choose Enabled, then restart the browser.";
    return [...(api ? [] : [update]), settings, ...(linux || api ? [flag] : [])];
  }
  if (/Safari\//.test(userAgent)) return ["Update to Safari 26 or later; WebGPU is on there."];
  return ["Use a current Chrome, Edge, Safari or Firefox."];
}
