// The picture of warm-ups and smoke tests: a red disc on a gradient, 16 x 16, as a PNG.

export const SAMPLE_PICTURE = Buffer.from(
  [
    'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAiklEQVR42p3RQQ3DQAxE0UVSGUgPhrJQFoqh+DgwDKEQav32kERp',
    'pEZ6x/mnGWOoGRwTC4FEYfwfmJrBMbEQSBRuBK5mcLyej61wJQrH4LD+2AdTzXC6/jZThRvBUjNcBUuFG0GoGa6CUGEX+I+m15sg',
    '1QyO4w+pROEkmFgI7INSMzgmFgKJwt/BGwkvihowj6S+AAAAAElFTkSuQmCC',
  ].join(''),
  'base64',
)
