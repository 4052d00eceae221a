// Stands in for global-agent, a package that only onnxruntime-node's install script loads, before it reads its settings.
//
// On Linux that script downloads CUDA libraries from nuget.org unless ONNXRUNTIME_NODE_INSTALL is `skip`. An install of Glimpse
// downloads from the npm registry only. An `.npmrc` could say `skip` too, but npm 11 warns about its key at every call, and npm 10
// does not read `allowScripts`. package.json names this folder in `overrides`. With ONNXRUNTIME_NODE_INSTALL=cuda12 the script
// downloads as before, without a proxy.

process.env.ONNXRUNTIME_NODE_INSTALL ??= 'skip'
exports.bootstrap = () => {}
