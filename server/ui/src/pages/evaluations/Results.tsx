/** How well each model did on each set of tasks: as the list of evaluations, one of them and a model show it. */
import { number } from "../../parts/format";
import { Gain, Share } from "../../parts/Share";
import { type Column, Table } from "../../parts/Table";
import type { Report } from "./api";

export type Row = Report["rows"][number];

export const keyOf = (row: Row) => `${row.environment} ${row.decoding} ${row.model}`;

/** Which row it is; how it was decoded is told only where that differs. */
export function which(report: Report): (Column<Row> | false)[] {
  return [
    { name: "Set", cell: (row) => row.environment },
    decodings(report).length > 1 && { name: "Decoding", cell: (row) => row.decoding },
    { name: "Model", kind: "words", cell: (row) => row.model },
  ];
}

export const decodings = (report: Report): string[] => [...new Set(report.rows.map((row) => row.decoding))];

export const success: Column<Row> = {
  name: "Success, 95%",
  cell: (row) => <Share value={row.success} interval={row.interval} floor={row.floors.all.constant} />,
};

export const tries: Column<Row> = {
  name: "Tries",
  kind: "number",
  cell: (row) => (
    <>
      {number(row.judged)}
      {row.judged < row.asked && <span className="complaint"> of {number(row.asked)}: incomplete</span>}
    </>
  ),
};

export function Results({ report }: { report: Report }) {
  const gain = (row: Row) => report.differences.find((one) => one.environment === row.environment && one.decoding === row.decoding && one.candidate === row.model);
  const difference: Column<Row> = {
    name: "Difference, 95%",
    cell(row) {
      const found = gain(row);
      return found && <Gain value={found.difference} interval={found.interval} />;
    },
  };
  return <Table rows={report.rows} keyOf={keyOf} columns={[...which(report), success, report.differences.length > 0 && difference, tries]} />;
}
