"use strict";
// Signs in with a partner's own client and lets GraphiQL ask. Nothing is stored, nothing comes from elsewhere.
let token = null;

const standing = document.getElementById("standing");

document.getElementById("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const basic = btoa(form.get("client").trim() + ":" + form.get("secret").trim());
  const answer = await fetch("/oauth/token", {
    method: "POST",
    headers: { Authorization: "Basic " + basic, "Content-Type": "application/x-www-form-urlencoded" },
    body: "grant_type=client_credentials",
  });
  const said = await answer.json();
  token = answer.ok ? said.access_token : null;
  standing.textContent = answer.ok ? "Signed in for ten minutes: " + said.scope : "Refused: " + said.error;
});

async function ask(asked) {
  const answer = await fetch("/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: "Bearer " + token } : {}) },
    body: JSON.stringify(asked),
  });
  if (answer.status === 401) {
    standing.textContent = "Not signed in, or the token has ended.";
  }
  return answer.json();
}

const FIRST = `# Sign in above, then press Ctrl-Enter.
{
  viewer {
    __typename
    ... on PartnerClient { partner { name code } scopes }
  }
}
`;

async function begin() {
  const schema = await (await fetch("/explorer/schema.json")).json();
  ReactDOM.createRoot(document.getElementById("explorer")).render(
    React.createElement(GraphiQL, { fetcher: ask, schema, defaultQuery: FIRST, shouldPersistHeaders: false }),
  );
}

begin();
