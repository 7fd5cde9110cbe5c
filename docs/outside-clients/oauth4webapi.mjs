// A partner's program on oauth4webapi, against a running gateway. See ../outside-clients.md.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import * as oauth from "oauth4webapi";

const { ISSUER, CLIENT_ID, KEY_FILE, REDIRECT_URI } = process.env;
const insecure = { [oauth.allowInsecureRequests]: ISSUER.startsWith("http://") };

const jwk = JSON.parse(await readFile(KEY_FILE, "utf8"));
const { kid, ...bare } = jwk;
const key = await crypto.subtle.importKey("jwk", bare, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const client = { client_id: CLIENT_ID };
const authentication = oauth.PrivateKeyJwt({ key, kid });
const proof = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const options = { DPoP: proof, ...insecure };

const found = await oauth.discoveryRequest(new URL(ISSUER), { algorithm: "oauth2", ...insecure });
const server = await oauth.processDiscoveryResponse(new URL(ISSUER), found);

async function ask(token) {
  const headers = new Headers({ "content-type": "application/json" });
  const body = JSON.stringify({ query: "{ __typename }" });
  const answer = await oauth.protectedResourceRequest(token, "POST", new URL(`${ISSUER}/graphql`), headers, body, options);
  return JSON.stringify(await answer.json());
}

// Client credentials: the program for itself.
const granted = await oauth.clientCredentialsGrantRequest(server, client, authentication, {}, options);
const own = await oauth.processClientCredentialsResponse(server, client, granted);
console.log("client credentials:", own.token_type, own.expires_in, await ask(own.access_token));

const shown = await oauth.introspectionRequest(server, client, authentication, own.access_token, insecure);
console.log("introspection: active", (await oauth.processIntrospectionResponse(server, client, shown)).active);

if (REDIRECT_URI) {
  // A code: a person allows the program, in a browser.
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const wanted = {
    response_type: "code", redirect_uri: REDIRECT_URI, state, scope: "members:read",
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  };
  const pushed = await oauth.pushedAuthorizationRequest(server, client, authentication, wanted, options);
  const { request_uri } = await oauth.processPushedAuthorizationResponse(server, client, pushed);
  const page = new URL(server.authorization_endpoint);
  page.search = new URLSearchParams({ client_id: CLIENT_ID, request_uri });
  const back = await new Promise((resolve) => {
    const home = createServer((request, response) => {
      response.end("Back in the program.");
      home.close();
      resolve(new URL(request.url, REDIRECT_URI));
    }).listen(new URL(REDIRECT_URI).port, "127.0.0.1", () => console.log("open:", page.href));
  });
  const checked = oauth.validateAuthResponse(server, client, back, state);
  const redeemed = await oauth.authorizationCodeGrantRequest(
    server, client, authentication, checked, REDIRECT_URI, verifier, options);
  const token = await oauth.processAuthorizationCodeResponse(server, client, redeemed);
  console.log("code:", token.token_type, token.scope, await ask(token.access_token));

  const renewed = await oauth.refreshTokenGrantRequest(server, client, authentication, token.refresh_token, options);
  console.log("refresh:", (await oauth.processRefreshTokenResponse(server, client, renewed)).token_type);

  const ended = await oauth.revocationRequest(server, client, authentication, token.refresh_token, insecure);
  await oauth.processRevocationResponse(ended);
  console.log("revoked");
}
