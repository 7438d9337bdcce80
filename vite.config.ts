import { readFileSync } from "node:fs";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** What the heads of both pages have in common, in the place of a comment. */
const head: Plugin = {
  name: "head",
  transformIndexHtml: { order: "pre", handler: (html) => html.replace("<!-- head -->", readFileSync("www/head.html", "utf8").trim()) },
};

export default defineConfig({
  plugins: [svelte(), head],
  // The pages work from any folder of any static host.
  base: "./",
  publicDir: "www/public",
  build: {
    outDir: "www/dist",
    target: "es2022",
    assetsInlineLimit: 0,
    rollupOptions: { input: { index: "index.html", lessons: "lessons.html" } },
  },
  worker: { format: "es" },
  server: { host: "127.0.0.1" },
});
