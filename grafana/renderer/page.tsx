// Page: a dashboard drawn with Grafana's own components, from answers of Prometheus that stand in the page.
import { DataFrame, ThemeContext } from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, GlobalStyles, LegendDisplayMode, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createElement, ReactNode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import 'uplot/dist/uPlot.min.css';

import { Asked, display, frames, overridden, Span, tabled, theme } from './frames';

interface Input {
  board: any;
  answers: Record<string, Asked['answers']>;
  span: Span;
  width: number;
}

const COLUMNS = 24;
const ROW = 38; // what a grid row of 30 pixels and its gap take in Grafana
const GAP = 8;
const HEADER = 32;
const look = theme();
const { board, answers, span, width } = (window as any).input as Input;

function Stat({ asked, w, h }: { asked: Asked; w: number; h: number }) {
  return (
    <BigValue value={{ ...display(asked), title: undefined }} colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} width={w} height={h} theme={look} />
  );
}

function Lines({ asked, w, h }: { asked: Asked; w: number; h: number }) {
  const data = overridden(asked.panel, frames(asked));
  if (data.length === 0) {
    return <Nothing text="No data" />;
  }
  for (const field of data.flatMap((frame) => frame.fields)) {
    field.values = field.values.map((value) => (Number.isFinite(value) ? value : null)); // as Grafana's panel does
  }
  const range: any = { from: moment(span.from), to: moment(span.to) };
  range.raw = range;
  return (
    <TimeSeries
      frames={data}
      timeRange={range}
      timeZone="utc"
      width={w}
      height={h}
      legend={{ displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true, calcs: [] }}
    />
  );
}

function moment(seconds: number): any {
  return { valueOf: () => seconds * 1000, toDate: () => new Date(seconds * 1000) };
}

function Rows({ asked, w, h }: { asked: Asked; w: number; h: number }) {
  const [data, setData] = useState<DataFrame | null>();
  useEffect(() => {
    tabled(asked).then(setData);
  }, [asked]);
  if (data === undefined) {
    return null;
  }
  if (data === null) {
    return <Nothing text={asked.panel.fieldConfig.defaults.noValue} />;
  }
  return <TableNG data={data} width={w} height={h} enableVirtualization={false} />;
}

// Grafana's heatmap is no part of its packages; this draws the same cells: a column a step, a row a bucket.
function Heatmap({ asked, w, h }: { asked: Asked; w: number; h: number }) {
  const rows = frames(asked)
    .map((frame) => ({ bound: Number(frame.fields[1].labels!.le.replace('+Inf', 'Infinity')), values: frame.fields[1].values as number[] }))
    .filter(({ bound }) => Number.isFinite(bound))
    .sort((one, other) => one.bound - other.bound);
  if (rows.length === 0) {
    return <Nothing text="No data" />;
  }
  const cells = rows.map(({ values }, row) => values.map((value, at) => Math.max(0, value - (row ? rows[row - 1].values[at] : 0)) || 0));
  const most = Math.max(...cells.flat(), 1);
  const left = 46;
  const [cw, ch] = [(w - left) / cells[0].length, (h - 4) / rows.length];
  const named = Math.ceil(rows.length / 14);
  return (
    <svg width={w} height={h} style={{ fontSize: 10, fill: look.colors.text.primary }}>
      {cells.map((values, row) => {
        const y = h - 2 - (row + 1) * ch;
        return (
          <g key={row}>
            {row % named === 0 && <text x={0} y={y + ch / 2 + 3}>{`≤ ${rows[row].bound}`}</text>}
            {values.map((value, at) => value > 1e-9 && (
              <rect key={at} x={left + at * cw} y={y} width={Math.max(cw - 0.5, 0.5)} height={Math.max(ch - 1, 1)} fill="#08519c" fillOpacity={0.08 + 0.92 * Math.sqrt(value / most)} />
            ))}
          </g>
        );
      })}
    </svg>
  );
}

function Nothing({ text }: { text: string }) {
  return <div style={{ color: look.colors.text.secondary, textAlign: 'center', paddingTop: 24 }}>{text}</div>;
}

const KINDS: Record<string, (props: { asked: Asked; w: number; h: number }) => ReactNode> = {
  stat: Stat,
  timeseries: Lines,
  table: Rows,
  heatmap: Heatmap,
};

function Framed({ panel }: { panel: any }) {
  const unit = (width - GAP) / COLUMNS;
  const at = panel.gridPos;
  const [w, h] = [at.w * unit - GAP, at.h * ROW - GAP];
  const place = { position: 'absolute', left: at.x * unit + GAP, top: at.y * ROW + GAP, width: w, height: h } as const;
  if (panel.type === 'row') {
    return <div style={{ ...place, fontSize: 16, fontWeight: 500, paddingTop: 4 }}>{panel.title}</div>;
  }
  const border = `1px solid ${look.colors.border.weak}`;
  return (
    <div style={{ ...place, background: look.colors.background.primary, border, borderRadius: 2, overflow: 'hidden' }}>
      <div style={{ height: HEADER, padding: '6px 8px', fontWeight: 500, whiteSpace: 'nowrap' }}>{panel.title}</div>
      <div style={{ padding: '0 8px' }}>
        {createElement(KINDS[panel.type], { asked: { panel, answers: answers[panel.id] ?? {}, span }, w: w - 18, h: h - HEADER - 10 })}
      </div>
    </div>
  );
}

function Page() {
  return (
    <ThemeContext.Provider value={look}>
      <GlobalStyles />
      <div style={{ position: 'relative', background: look.colors.background.canvas, minHeight: '100vh', color: look.colors.text.primary }}>
        {board.panels.map((panel: any) => (
          <Framed key={panel.id} panel={panel} />
        ))}
      </div>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')!).render(<Page />);
