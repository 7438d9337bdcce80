/// <reference lib="webworker" />
// Reference cases on this device, by a module of their own that nobody waits for who does not ask: the same engines, and what
// reads such cases.
import init, { Verifier } from "../../extra/stackelberg.js";
import module from "../../extra/stackelberg_bg.wasm?url";
import type { Engine } from "../../pkg/stackelberg.js";
import type { Compared, SelfCheckNews } from "../model/selfcheck.ts";
import { bytesAt, reason } from "./arrival.ts";

/** Small cases of every sort: operations, losses, trainings, hypergradients of each kind. */
const files = import.meta.glob<string>(
  "../../../tests/cases/{op_conv1d_same_k5,op_matmul_nn,op_softmax,op_cross_entropy_weighted,op_maxpool1d_overlap_ties,op_dropout_rate03,op_logsumexp,hg_ridge_sgd_T20,hg_mlp_tanh_adam_T5,hg_logistic_momentum_T20,implicit_ridge,trunc_logistic_adam_T20,hd_lr_momentum_mlp,outer_logistic_sgd_gd}/{case.json,tensors.safetensors}",
  { query: "?url", import: "default", eager: true },
);

const say = (news: SelfCheckNews) => postMessage(news);

/** Runs every case on each of the engines, one after the other. */
addEventListener("message", async ({ data: engines }: MessageEvent<Engine[]>) => {
  try {
    await init({ module_or_path: module });
    const cases = Object.keys(files).filter((path) => path.endsWith("case.json"));
    let done = 0;
    for (const engine of engines) {
      const failed: string[] = [];
      let outputs = 0;
      const verifier = await Verifier.open(engine);
      for (const path of cases) {
        say({ is: "running", done: done++, total: engines.length * cases.length });
        const answer = await verifier.run(await bytesAt(files[path]!), await bytesAt(files[path.replace("case.json", "tensors.safetensors")]!));
        const compared = JSON.parse(answer ?? "[]") as Compared[];
        outputs += compared.length;
        if (compared.length === 0 || compared.some(({ passed }) => !passed)) failed.push(path.split("/").at(-2)!);
      }
      verifier.free();
      say({ is: "checked", engine, cases: cases.length, outputs, failed });
    }
    say({ is: "over" });
  } catch (error) {
    say({ is: "broke", message: reason(error) });
  }
});
