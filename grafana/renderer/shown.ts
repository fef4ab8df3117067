// Shown: what Grafana's reducers, thresholds and overrides make of panels; a JSON list of them on stdin, another on stdout.
import { readFileSync } from 'node:fs';

import { getFieldDisplayName } from '@grafana/data';

import { Asked, display, frames, overridden, tabled, theme } from './frames';

(globalThis as any).window ??= {}; // transformations look there for the application that they are part of
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

async function table(asked: Asked) {
  const data = await tabled(asked);
  return (data?.fields ?? []).map((field) => [
    getFieldDisplayName(field, data!),
    ...field.values.map((value) => field.display!(value).text),
  ]);
}

const KINDS: Record<string, (asked: Asked) => unknown> = { stat, timeseries: legend, table };
const asked: Asked[] = JSON.parse(readFileSync(0, 'utf8'));
Promise.all(asked.map((one) => KINDS[one.panel.type](one))).then((made) => process.stdout.write(JSON.stringify(made)));
