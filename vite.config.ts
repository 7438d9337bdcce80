import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
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
