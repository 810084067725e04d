// An issuer of tokens on a free port of this machine, for tests. It prints its address, and ends when its standard input does.
//
// Tokens are the ones that oidc-provider makes: POST /token with the client app-1 and its secret, grant_type client_credentials for a
// token of the application's own or urn:perdiem:member with `member` for one of a member's. `resource` says of which sort:
// https://api.example/jwt/ALG or https://api.example/opaque.
//
// People sign in by the client `portal`, for which POST /control/portal?redirect=URL registers where they are sent back to; &claims=id_token puts their claims
// into the id_token as well, and not only into the userinfo. Whoever comes is the person that POST /control/person?claims=JSON told last, by its sub; without
// one they decline. A browser is asked nothing.
//
// POST /control/rotate?keep=1 makes new keys and signs with them from then on, with the old ones still in the JWKS or, without keep, no longer;
// /control/down and /control/up break and mend the connections of all others; /control/asked tells how often each path was asked for.
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { createServer } from 'node:http';

globalThis.crypto ??= webcrypto; // Node 18 does not have it there
const { default: Provider } = await import('oidc-provider');

let made = 0;
function makeKeys() {
  made += 1;
  const kinds = {
    ES256: ['ec', { namedCurve: 'P-256' }],
    ES384: ['ec', { namedCurve: 'P-384' }],
    ES512: ['ec', { namedCurve: 'P-521' }],
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    EdDSA: ['ed25519', {}],
  };
  return Object.entries(kinds).map(([alg, [type, options]]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid: `${alg}-${made}`, alg, use: 'sig',
  }));
}

const resource = (indicator) => {
  const [, format, alg] = new URL(indicator).pathname.split('/');
  return {
    audience: 'api', scope: 'api', accessTokenTTL: 600, accessTokenFormat: format, ...(format === 'jwt' && { jwt: { sign: { alg } } }),
  };
};

const portal = { redirects: [], claims: 'userinfo' };
const people = {};
let person;

function provider(issuer, keys) {
  const p = new Provider(issuer, {
    jwks: { keys },
    clients: [
      { client_id: 'app-1', client_secret: 'app-secret', grant_types: ['client_credentials', 'urn:perdiem:member'], redirect_uris: [], response_types: [] },
      {
        client_id: 'portal', client_secret: 'portal secret/+', grant_types: ['authorization_code'], redirect_uris: portal.redirects,
        response_types: portal.redirects.length ? ['code'] : [],
      },
      { client_id: 'gw', client_secret: 'gw secret/+', grant_types: [], redirect_uris: [], response_types: [] },
    ],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    claims: { email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: portal.claims === 'userinfo',
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (ctx) => {
      const grant = new p.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid email groups');
      await grant.save();
      return grant;
    },
    enabledJWA: { idTokenSigningAlgValues: ['ES256', 'ES384', 'ES512', 'RS256', 'PS256', 'EdDSA'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_, indicator) => resource(indicator) },
    },
  });
  p.registerGrantType('urn:perdiem:member', async (ctx) => {
    const { client, params } = ctx.oidc;
    const grant = new p.Grant({ clientId: client.clientId, accountId: params.member });
    const token = new p.AccessToken({
      accountId: params.member, client, grantId: await grant.save(), gty: 'member', expiresWithSession: false, scope: 'api',
      resourceServer: new p.ResourceServer(params.resource, resource(params.resource)),
    });
    ctx.body = { access_token: await token.save(), token_type: 'Bearer' };
  }, ['member', 'resource']);
  const serve = p.callback();
  return (request, response) => {
    if (!request.url.startsWith('/interaction/')) {
      serve(request, response);
      return;
    }
    p.interactionFinished(request, response, person
      ? { login: { accountId: person, remember: false } }
      : { error: 'access_denied', error_description: '<b>declined</b>' }).catch((err) => response.writeHead(500).end(String(err)));
  };
}

let keys = makeKeys();
let callback;
let down = false;
const asked = {};
const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname.startsWith('/control/')) {
    switch (url.pathname) {
      case '/control/rotate': {
        const fresh = makeKeys();
        // What is signed is signed by the first key that fits.
        keys = url.searchParams.has('keep') ? [...fresh, ...keys] : fresh;
        callback = provider(issuer, keys);
        break;
      }
      case '/control/portal':
        portal.redirects = [url.searchParams.get('redirect')];
        portal.claims = url.searchParams.get('claims') ?? 'userinfo';
        callback = provider(issuer, keys);
        break;
      case '/control/person': {
        const claims = JSON.parse(url.searchParams.get('claims'));
        person = claims?.sub;
        if (person) people[person] = claims;
        break;
      }
      case '/control/down': down = true; break;
      case '/control/up': down = false; break;
      default:
    }
    response.end(JSON.stringify(asked));
    return;
  }
  if (down) {
    request.socket.destroy();
    return;
  }
  asked[url.pathname] = (asked[url.pathname] ?? 0) + 1;
  callback(request, response);
});
await new Promise((ready) => { server.listen(0, '127.0.0.1', ready); });
const issuer = `http://127.0.0.1:${server.address().port}`;
callback = provider(issuer, keys);
console.log(issuer);
process.stdin.on('end', () => process.exit(0)).resume();
