// What the site's scripts share with each other, with Plotly and with Material, for TypeScript's checker.

/** One of a figure's traces, as plotly.py writes it; Plotly says what else stands in it. */
interface Trace { type?: string, name?: string, meta?: any, legendgroup?: string, [key: string]: any }

interface Plot { data: Trace[], layout?: Record<string, any>, frames?: object[] }

/** The tokens of vg.css that hold in a place: one by its name, the colours of each role, pixels of a rem. */
interface Theme { token: (name: string) => string, ramps: Record<string, string[]>, rem: number }

/** What a network does not tell as a number: JSON's words for it. */
type Told = number | "nan" | "inf" | "-inf"

/** A value for each key of vgTrain.OPTIONS that the network has. */
type Setting = Record<string, any>

/** What engine.js tells of a step; lists are by layer or by time step, the input's side first. */
interface State { step: number, loss: Told, accuracy: Told, gradients: Told[], [list: string]: any }

/** The tokens of vg.css in a place, as canvases need them; `heat` is the colour of a number of decades. */
interface Look {
  token: (name: string) => string, rgb: (color: string) => Uint8ClampedArray
  heat: (log: number) => { css: string, pixel: number }, font: string
}

/** What the worker, or the page in its stead, is asked, and what it answers. */
interface Question { make: number, settings?: Setting[], steps?: number, ms?: number, points?: Float64Array | null, digits?: boolean }
interface Answer { make: number, states: State[][], classes: Float64Array[] | null, data: { x: Float64Array, y: Uint8Array } | null }

interface Window {
  vgTrain: { parse: (query: string) => Setting, query: (setting: Setting) => string, script: (setting: Setting) => string }
  vgTrainServe?: (post: (answer: Answer) => void) => (question: Question) => void
  Plotly: any
  vg: {
    make: (tag: string, properties?: object, ...children: any[]) => any
    light: () => Theme
    load: (src: URL, what: string, isThere?: () => boolean) => Promise<void>
    mount: () => void
    paint: (plot: Plot, width: number, theme?: Theme) => Plot
    show: (element: HTMLElement, plot: Plot) => Promise<void>
    svg: (element: HTMLElement, width: number, height: number) => Promise<string>
    save?: (figure: HTMLElement, format: string) => Promise<void>
    explore?: (element: Element) => void
    train?: (element: Element) => void
  }
  document$?: { subscribe: (mount: () => void) => void }
}
