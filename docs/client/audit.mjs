// The audit of GraphQL over HTTP that comes with graphql-http: node audit.mjs ADDRESS/graphql, the token in TOKEN.
import { auditServer } from 'graphql-http';

const results = await auditServer({
  url: process.argv[2],
  fetchFn: (url, options = {}) =>
    fetch(url, { ...options, headers: { ...options.headers, authorization: `Bearer ${process.env.TOKEN}` } }),
});
const count = {};
for (const result of results) {
  count[result.status] = (count[result.status] ?? 0) + 1;
  if (result.status !== 'ok') console.log(result.status, result.id, result.name);
}
console.log(count);
process.exitCode = count.error || count.warn ? 1 : 0;
