// Hands every dashboard to the TypeScript compiler as a constant of the type `File`.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const here = import.meta.dirname;
const dashboards = `${here}/../dashboards`;
const build = `${here}/build`;

rmSync(build, { recursive: true, force: true });
mkdirSync(build);
const names = readdirSync(dashboards).filter((name) => name.endsWith('.json'));
for (const name of names) {
  const file = readFileSync(`${dashboards}/${name}`, 'utf8');
  writeFileSync(
    `${build}/${name.replace('.json', '.ts')}`,
    `import type { File } from '../types.ts';\n\nexport const dashboard: File = ${file.trimEnd()};\n`,
  );
}
const compiler = `${here}/node_modules/typescript/bin/tsc`;
const { status } = spawnSync(process.execPath, [compiler, '--project', here], { stdio: 'inherit' });
if (status === 0) {
  console.log(`${names.length} dashboards are what Grafana's types say`);
}
process.exit(status ?? 1);
