/** A weight as the packers see it: [outputs, inputs], whole rows at a time, as float32. */
export interface Matrix {
  dims: number[]
  rows(): AsyncIterable<Float32Array>
}
