import type { ReactNode } from "react";

export interface Column<Row> {
  name: ReactNode;
  cell: (row: Row) => ReactNode;
  /** Figures stand under each other; words break anywhere, so that none widens the table; a head names its row. */
  kind?: "number" | "words" | "head";
  /** A class of its own for some rows' cells. */
  tone?: (row: Row) => string;
}

interface Shown<Row> {
  rows: readonly Row[];
  /** What is false is left out. */
  columns: readonly (Column<Row> | false)[];
  keyOf: (row: Row) => string;
  /** What screen readers are told that it is, where no heading stands before it. */
  caption?: string;
}

/** Rows under headings; one that is wider than its place scrolls within it. */
export function Table<Row>({ rows, columns, keyOf, caption }: Shown<Row>) {
  const shown = columns.filter((column) => column !== false);
  return (
    <div className="scroll" tabIndex={0}>
      <table className="plain">
        {caption && <caption className="hidden">{caption}</caption>}
        <thead>
          <tr>
            {shown.map((column, place) => (
              <th key={place} className={column.kind}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {shown.map((column, place) => (
                <Cell key={place} column={column} row={row} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell<Row>({ column, row }: { column: Column<Row>; row: Row }) {
  const name = [column.kind, column.tone?.(row)].filter(Boolean).join(" ");
  if (column.kind === "head") {
    return (
      <th scope="row" className={name}>
        {column.cell(row)}
      </th>
    );
  }
  return <td className={name}>{column.cell(row)}</td>;
}
