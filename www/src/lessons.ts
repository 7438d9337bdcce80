import "@fontsource-variable/instrument-sans/index.css";
import "@fontsource-variable/stix-two-text/index.css";
import "@fontsource-variable/stix-two-text/wght-italic.css";
import "./app.css";
import { mount } from "svelte";
import Lessons from "./Lessons.svelte";

mount(Lessons, { target: document.body });
