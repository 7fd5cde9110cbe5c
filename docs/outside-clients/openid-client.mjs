// A partner's program on openid-client, against a running gateway. See ../outside-clients.md.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import * as client from "openid-client";

const { ISSUER, CLIENT_ID, KEY_FILE, REDIRECT_URI } = process.env;

const { kid, ...bare } = JSON.parse(await readFile(KEY_FILE, "utf8"));
const key = await crypto.subtle.importKey("jwk", bare, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const execute = ISSUER.startsWith("http://") ? [client.allowInsecureRequests] : [];
const config = await client.discovery(
  new URL(ISSUER), CLIENT_ID, undefined, client.PrivateKeyJwt({ key, kid }), { algorithm: "oauth2", execute });
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));

async function ask(token) {
  const headers = new Headers({ "content-type": "application/json" });
  const body = JSON.stringify({ query: "{ __typename }" });
  const answer = await client.fetchProtectedResource(
    config, token, new URL(`${ISSUER}/graphql`), "POST", body, headers, { DPoP });
  return JSON.stringify(await answer.json());
}

const own = await client.clientCredentialsGrant(config, {}, { DPoP });
console.log("client credentials:", own.token_type, own.expires_in, await ask(own.access_token));

if (REDIRECT_URI) {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const page = await client.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: REDIRECT_URI, scope: "members:read", state,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  }, { DPoP });
  const back = await new Promise((resolve) => {
    const home = createServer((request, response) => {
      response.end("Back in the program.");
      home.close();
      resolve(new URL(request.url, REDIRECT_URI));
    }).listen(new URL(REDIRECT_URI).port, "127.0.0.1", () => console.log("open:", page.href));
  });
  const token = await client.authorizationCodeGrant(
    config, back, { pkceCodeVerifier: verifier, expectedState: state }, undefined, { DPoP });
  console.log("code:", token.token_type, token.scope, await ask(token.access_token));
  const renewed = await client.refreshTokenGrant(config, token.refresh_token, undefined, { DPoP });
  console.log("refresh:", renewed.token_type);
  await client.tokenRevocation(config, token.refresh_token);
  console.log("revoked");
}
