import { defineConfig } from "vitest/config";
import { SELECTIONS, trim } from "./js/trim.mjs";

export default defineConfig({
  plugins: [
    {
      name: "trim-selections",
      transform: (code, id) => (SELECTIONS.test(id) ? trim(code) : undefined),
    },
  ],
  test: {
    include: ["js/test/**/*.test.js"],
    environment: "node",
    restoreMocks: true,
    server: { deps: { inline: ["d3-selection"] } },
  },
});
