// Frames: answers of Prometheus's HTTP API as the data frames that Grafana's data source would make of them.
import {
  applyFieldOverrides,
  createTheme,
  DataFrame,
  FieldConfigOptionsRegistry,
  FieldType,
  getFieldDisplayName,
  getFieldDisplayValues,
  GrafanaTheme2,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

export interface Span {
  from: number;
  to: number;
  step: number;
}

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: Array<[number, string]>;
}

export interface Asked {
  panel: any;
  answers: Record<string, Series[]>;
  span: Span;
}

export function theme(): GrafanaTheme2 {
  return createTheme({ colors: { mode: 'light' } });
}

export function frames({ panel, answers, span }: Asked): DataFrame[] {
  return panel.targets.flatMap((target: any) => {
    const series = answers[target.refId] ?? [];
    if (target.format === 'table') {
      return series.length ? [table(target.refId, series)] : [];
    }
    return series.map((one) => line(target, one, span));
  });
}

// Grafana asks in steps, and a step without a value is a gap.
function line(target: any, one: Series, span: Span): DataFrame {
  const known = new Map((one.values ?? [one.value!]).map(([at, value]) => [Math.round(at), Number(value)]));
  const times = one.values ? steps(span) : [...known.keys()];
  const legend = target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_: string, label: string) => one.metric[label] ?? '');
  const name = legend === '__auto' ? 'Value' : legend;
  return {
    refId: target.refId,
    length: times.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: times.map((at) => at * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: one.metric,
        config: { displayNameFromDS: name },
        values: times.map((at) => known.get(at) ?? null),
      },
    ],
  };
}

function steps({ from, to, step }: Span): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, number) => Math.round(from + number * step));
}

function table(refId: string, series: Series[]): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return {
    refId,
    length: series.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: series.map((one) => one.value![0] * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: {},
        values: series.map((one) => one.metric[label] ?? ''),
      })),
      {
        name: `Value #${refId}`,
        type: FieldType.number,
        config: {},
        values: series.map((one) => Number(one.value![1])),
      },
    ],
  };
}

// The options of a field that these boards set. Grafana's own list comes with the editors of its application.
const OPTIONS = ['unit', 'min', 'max', 'noValue', 'mappings', 'thresholds', 'color'];
const CUSTOM = [
  'cellOptions', 'drawStyle', 'fillOpacity', 'hideFrom', 'lineStyle', 'lineWidth', 'showPoints', 'spanNulls', 'stacking',
  'thresholdsStyle', 'width',
];
const registry = new FieldConfigOptionsRegistry(() => [
  ...OPTIONS.map((path) => option(path, path, false)),
  ...CUSTOM.map((path) => option(`custom.${path}`, path, true)),
]);

function option(id: string, path: string, isCustom: boolean): any {
  return { id, path, isCustom, name: id, process: identityOverrideProcessor, shouldApply: () => true };
}

export function overridden(panel: any, data: DataFrame[]): DataFrame[] {
  return applyFieldOverrides({
    data,
    fieldConfig: panel.fieldConfig,
    replaceVariables: (text: string) => text,
    theme: theme(),
    fieldConfigRegistry: registry,
  });
}

export function display(asked: Asked) {
  const [shown] = getFieldDisplayValues({
    fieldConfig: asked.panel.fieldConfig,
    reduceOptions: asked.panel.options.reduceOptions,
    replaceVariables: (text: string) => text,
    theme: theme(),
    data: overridden(asked.panel, frames(asked)),
  });
  return shown.display;
}

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((one) => ({
    id: one.id,
    name: one.name,
    transformation: () => Promise.resolve(one),
    editor: () => null as any,
    imageDark: '',
    imageLight: '',
  }))
);

// The table that a panel's transformations make of its answers, or null where there is none.
export async function tabled(asked: Asked): Promise<DataFrame | null> {
  const [made] = await firstValueFrom(transformDataFrame(asked.panel.transformations, frames(asked)));
  if (!made || made.length === 0) {
    return null;
  }
  const [data] = overridden(asked.panel, [made]);
  data.fields.forEach((field) => getFieldDisplayName(field, data)); // a field remembers the name of its column
  return data;
}
