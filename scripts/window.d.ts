// What the site's scripts share with each other, with Plotly and with Material, for TypeScript's checker.

/** One of a figure's traces, as plotly.py writes it; Plotly says what else stands in it. */
interface Trace { type?: string, name?: string, meta?: any, legendgroup?: string, [key: string]: any }

interface Plot { data: Trace[], layout?: Record<string, any>, frames?: object[] }

/** The tokens of vg.css that hold in a place: one by its name, the colours of each role, pixels of a rem. */
interface Theme { token: (name: string) => string, ramps: Record<string, string[]>, rem: number }

interface Window {
  Plotly: any
  vg: {
    mount: () => void
    paint: (plot: Plot, width: number, theme?: Theme) => Plot
    show: (element: HTMLElement, plot: Plot) => Promise<void>
    explore?: (element: Element) => void
    train?: (element: Element) => void
  }
  document$?: { subscribe: (mount: () => void) => void }
}
