import assert from "node:assert/strict";
import { test } from "node:test";
import type { Settings } from "../../pkg/stackelberg.js";
import { field } from "./schema.ts";
import { command, defaults, entered, fromHash, further, numbers, peopleOf, splitOf, toHash, typedSetting, withFurther, withWrongLabels } from "./settings.ts";

const start = { ...defaults(null), compare: false };

test("the defaults are what was found worth its time", () => {
  const { network, steps, budget, batch } = defaults({ network: "paper", steps: 200, budget: 72 });
  assert.deepEqual([network, steps, budget, batch], ["paper", 200, 72, start.batch]);
});

test("an address without settings leaves them open", () => {
  for (const hash of ["", "#", "#?"]) assert.equal(fromHash(hash).settings, null, hash);
  assert.deepEqual(fromHash("").remarks, []);
});

test("an address has every setting, and survives", () => {
  const chosen = { ...start, network: "paper" as const, steps: 7, seed: 4294967295, method: "truncated:3", hyperparameters: ["lr", "example-weights"] as const };
  const settings = { ...chosen, hyperparameters: [...chosen.hyperparameters] };
  for (const data of [null, "builtin", "subset", "my own & only.zip", "ä#=%.zip"])
    assert.deepEqual(fromHash(toHash(settings, data)), { settings, data, remarks: [] });
  assert.equal(
    toHash(start, "builtin"),
    "#network=narrow&steps=20&budget=36&batch=64&seed=0&method=reverse&hyperparameters=lr,momentum,l2&compare=false&data=builtin",
  );
  const spoilt = withWrongLabels(start);
  assert.match(toHash(spoilt, null), /hyperparameters=lr,example-weights&compare=false&mislabelled=33$/);
  assert.deepEqual(fromHash(toHash(spoilt, null)).settings, spoilt);
  assert.deepEqual(withWrongLabels(fromHash("#task=prediction&folds=3").settings!), spoilt, "what does not go with it is left out");
});

test("what an address leaves out does not come from this device", () => {
  assert.deepEqual(fromHash("#steps=7").settings, { ...start, steps: 7 });
});

test("what an address has wrong is said, thing by thing", () => {
  const cases: [string, object | null, RegExp[]][] = [
    ["#steps=0", { steps: 1 }, [/Training steps: “0” is out of range; 1 is the least/]],
    ["#budget=0", { budget: 1 }, [/Budget: “0” is out of range; 1 is the least/]],
    ["#seed=-1", { seed: 0 }, [/Seed: “-1” is out of range/]],
    ["#batch=NaN", {}, [/Batch: “NaN” is not a whole number from 1 to 4294967295; 64 is taken/]],
    ["#batch=", {}, [/Batch: nothing is not a whole number/]],
    ["#batch=6.5", {}, [/“6\.5” is not a whole number/]],
    ["#batch=0x10", {}, [/is not a whole number/]],
    ["#steps=1e999", { steps: 1000000 }, [/1000000 is the most/]],
    [`#steps=${"9".repeat(500)}`, { steps: 1000000 }, [/“9{24}…” is out of range/]],
    ["#steps=5&steps=6", { steps: 5 }, [/“steps” is given more than once; the first is taken/]],
    ["#network=huge", {}, [/Network: “huge” is not narrow, paper, .* or resnet2d; narrow is taken/]],
    ["#hyperparameters=nothing", {}, [/Hyperparameters: “nothing”/]],
    ["#hyperparameters=lr,nothing", { hyperparameters: ["lr"] }, [/Hyperparameters: “nothing”.*lr is taken/]],
    ["#method=implicit", {}, [/“implicit” is not reverse, forward, truncated:K, implicit:K or fixed-point:K/]],
    ["#method=implicit:20", { method: "implicit:20" }, []],
    ["#optimizer=adam&learning_rate=-1", { more: [{ name: "optimizer", value: "adam" }] }, [/Learning rate: “-1” is not a number from 1e-30 to 1e\+30; the usual one is taken/]],
    ["#optimizer=best", { more: [] }, [/Inner optimiser: “best” is none of sgd, momentum/]],
    ...["nonsense", '{"validation":5}', '{"validation":"a"}', '{"validation":[1.5]}', '{"people":[1]}', "null", "[]", "7"].map((split): [string, object, RegExp[]] => [
      `#split=${split}`, { more: [] }, [/^Validation people: .* does not name people as \{"validation":\[3,5\]\} does; the usual ones are taken/],
    ]),
    ["#method=truncated:0", { method: "truncated:1" }, [/Last steps: “0” is out of range/]],
    ["#method=truncated:x", {}, [/is not reverse/]],
    ["#foo=1&steps=7", { steps: 7 }, [/“foo” is no setting/]],
    ["#foo", null, [/“foo” is no setting/]],
    ["#%E0%A4%A&steps=3", { steps: 3 }, [/is no setting/]],
  ];
  for (const [hash, expected, remarks] of cases) {
    const address = fromHash(hash);
    assert.deepEqual(address.settings, expected && { ...start, ...expected }, hash);
    assert.equal(address.remarks.length, remarks.length, `${hash}: ${address.remarks}`);
    for (const [at, remark] of remarks.entries()) assert.match(address.remarks[at]!, remark, hash);
  }
});

test("an address of before, which counts outer iterations, still opens, and what is taken is said", () => {
  const of = (hash: string) => fromHash(hash);
  assert.deepEqual(of("#steps=7&outer=20"), {
    settings: { ...start, steps: 7, budget: 20 },
    data: null,
    remarks: ["Outer iterations are now a budget in trainings: 20 is taken."],
  });
  assert.equal(of("#outer=0").settings?.budget, 1);
  assert.deepEqual(of("#outer=0").remarks, ["Outer iterations are now a budget in trainings: “0” is out of range; 1 is the least, and is taken."]);
  assert.equal(of("#outer=20&budget=50").settings?.budget, 50);
  // Beside a budget they are the setting of that name.
  assert.deepEqual(of("#outer=20&budget=50").settings?.more, [{ name: "outer", value: "20" }]);
});

test("a number that was typed is taken, or pulled into its range or left as it was, and then said", () => {
  const steps = numbers[0]!;
  assert.deepEqual(entered("30", steps, 20), { value: 30, remark: null });
  assert.deepEqual(entered(" 1e3 ", steps, 20), { value: 1000, remark: null });
  assert.deepEqual(entered("5000000", steps, 20), { value: 1000000, remark: "Training steps: “5000000” is out of range; 1000000 is the most, and is taken." });
  assert.equal(entered("", steps, 20).value, 20);
  assert.match(entered("2.5", steps, 20).remark!, /not a whole number from 1 to 1000000; 20 is taken/);
});

test("an address has every further setting and layers of one's own, and the command line names them", () => {
  const network = { file: "layers.json", layers: [{ type: "flatten" }, { type: "dense", name: "d & e", in: 6, out: 2 }] };
  const more = [
    ["learning_rate", "0.5"], ["betas", "[0.8,0.99]"], ["optimizer", "adam"], ["split", splitOf("3, 5 and 7")!], ["memory_budget", "2MiB"],
  ] as const;
  const settings = more.reduce<Settings>((settings, [name, value]) => withFurther(settings, name, value), { ...start, network });
  assert.deepEqual(fromHash(toHash(settings, null)), { settings, data: null, remarks: [] });
  assert.equal(peopleOf(further(settings, "split")), "3, 5, 7");
  const line = command(settings);
  for (const part of ["--network layers.json", "--validation-subjects 3,5,7", "--optimizer adam", "--learning-rate 0.5", "--betas 0.8,0.99", "--memory-budget 2MiB"])
    assert.ok(line.includes(part), `${part} in ${line}`);
  assert.equal(further(withFurther(settings, "betas", null), "betas"), undefined);
});

test("people are shown by their numbers, and nobody where what is written names none", () => {
  assert.equal(peopleOf('{"validation":[3,5],"test":[2]}'), "3, 5");
  for (const split of [undefined, '{"validation":null}', "nonsense", "null"]) assert.equal(peopleOf(split), "");
});

test("a further setting is within the limits of the schema", () => {
  const typed = (name: string, text: string) => typedSetting(field(name), text);
  assert.deepEqual(typed("momentum", "0,5"), { value: "0.5", remark: null });
  assert.match(typed("momentum", "1").remark!, /Momentum: “1” is not a number above 0 and below 1/);
  assert.deepEqual(typed("patience", "15"), { value: null, remark: null });
  assert.match(typed("patience", "1.5").remark!, /not a whole number/);
  assert.deepEqual(typed("decay", "cosine:0.5"), { value: "cosine:0.5", remark: null });
  assert.deepEqual(typed("betas", "0.8, 0.99"), { value: "[0.8,0.99]", remark: null });
  assert.deepEqual(typed("memory_budget", "1.5 GB"), { value: "1.5 GB", remark: null });
});

test("what an address writes as nobody would is said, with the field and what is taken", () => {
  const { settings, remarks } = fromHash("#betas=nonsense&decay=nonsense&memory_budget=x");
  assert.deepEqual(settings?.more, []);
  assert.deepEqual(remarks, [
    "Adam's decay rates: “nonsense” is not 2 numbers, with a comma between; the usual ones are taken.",
    "Decay of the rate: “nonsense” is not written as tail is; tail is taken.",
    "Memory: “x” is not written as 1GiB is; 1GiB is taken.",
  ]);
});

test("hyperparameters keep the order of the list, whatever the address says", () => {
  assert.deepEqual(fromHash("#hyperparameters=l2,lr").settings?.hyperparameters, ["lr", "l2"]);
});

test("the command line names every setting, and the data as a shell takes them", () => {
  const plain = "stackelberg tune --network narrow --steps 20 --budget 36 --batch 64 --seed 0 --method reverse --hyperparameters lr,momentum,l2";
  assert.equal(command({ ...start, compare: true }), `${plain} --compare`);
  assert.equal(command(start), plain);
  assert.equal(command(start, "cpu"), `${plain} --device cpu`);
  assert.equal(command(start, "webgpu", "subset"), `${plain} --data subset`);
  assert.equal(command(start, "cpu", "UCI HAR Dataset.zip"), `${plain} --device cpu --data 'UCI HAR Dataset.zip'`);
  assert.equal(command(start, undefined, "it's; rm -r $HOME `x`.zip"), `${plain} --data 'it'\\''s; rm -r $HOME \`x\`.zip'`);
  assert.equal(command(start, undefined, "--x.zip"), `${plain} --data=--x.zip`);
});
