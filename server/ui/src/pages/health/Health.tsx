import { Empty } from "../../parts/states";

export default function Health() {
  return <Empty title="Health" />;
}
