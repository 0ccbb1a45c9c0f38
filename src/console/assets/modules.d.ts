/** Files that the bundler imports as text: `import text from '…' with { type: 'text' }`. */
declare module '*.css' {
  const text: string;
  export default text;
}
declare module 'htmx.org/dist/htmx.min.js' {
  const text: string;
  export default text;
}
declare module '*/page.js' {
  const text: string;
  export default text;
}
