import { Empty } from "../../parts/states";

export default function Training() {
  return <Empty title="Training" />;
}
