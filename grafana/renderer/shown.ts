// Shown: what Grafana's reducers, thresholds and overrides make of panels; a JSON list of them on stdin, another on stdout.
import { readFileSync } from 'node:fs';

import { Asked, display, frames, overridden, theme } from './frames';

(globalThis as any).navigator ??= { language: 'en-US', languages: ['en-US'] }; // Node 20 has none, dates look for it

const COLORS = ['green', 'yellow', 'orange', 'red', 'blue'];
const names = new Map(COLORS.map((name) => [theme().visualization.getColorByName(name), name]));

function stat(asked: Asked) {
  const { text, color } = display(asked);
  return { text, color: names.get(color!) ?? color };
}

function legend(asked: Asked) {
  const fields = overridden(asked.panel, frames(asked)).map((frame) => frame.fields[1]);
  return fields.filter((field) => !field.config.custom?.hideFrom?.legend).map((field) => field.config.displayNameFromDS);
}

const asked: Asked[] = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(asked.map((one) => (one.panel.type === 'stat' ? stat(one) : legend(one)))));
