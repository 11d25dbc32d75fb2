import { Empty } from "../../parts/states";

export default function Evaluations() {
  return <Empty title="Evaluations" />;
}
