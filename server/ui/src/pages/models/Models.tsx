import { Empty } from "../../parts/states";

export default function Models() {
  return <Empty title="Models" />;
}
