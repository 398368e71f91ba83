// The OpenID provider of the lab: oidc-provider with the accounts and clients of a JSON file. `node server.mjs FILE`.
//
// FILE: {module, issuer, listen: [{fd} or {host, port}], certificate, key, ready, accounts, clients, skew,
// userinfoOnly, lifetimes}. `module` is where oidc-provider is installed.
// `accounts` is another file, read whenever somebody is looked up: {NAME: {password, mfa, disabled, claims: {…}}}.
// SIGUSR2 makes a new signing key in the place of the old one. `ready` is written when it listens, and after each new key.
import { generateKeyPairSync, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { default: Provider } = await import(settings.module);
if (settings.skew) {
  const now = Date.now;
  Date.now = () => now() + settings.skew * 1000;
}
const cookieKeys = [randomBytes(32).toString('hex')];

const accounts = () => JSON.parse(readFileSync(settings.accounts, 'utf8'));
const account = (name) => {
  const known = accounts();
  return Object.hasOwn(known, name) && !known[name].disabled ? known[name] : undefined;
};

function same(one, other) {
  const [a, b] = [Buffer.from(String(one)), Buffer.from(String(other))];
  return a.length === b.length && timingSafeEqual(a, b);
}

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'ES256' };
}

function makeProvider(key) {
  const provider = new Provider(settings.issuer, {
    clients: settings.clients.map((client) => ({
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
      backchannel_logout_session_required: true,
      ...client,
    })),
    jwks: { keys: [key] },
    cookies: { keys: cookieKeys },
    scopes: ['openid', 'offline_access', 'profile', 'groups'],
    claims: {
      openid: ['sub', 'acr', 'amr', 'auth_time'],
      profile: ['preferred_username', 'name'],
      groups: ['groups'],
    },
    conformIdTokenClaims: settings.userinfoOnly === true,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: 300, IdToken: 300, DeviceCode: 300, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 600, ...settings.lifetimes },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    async findAccount(ctx, id) {
      const found = account(id);
      return found && {
        accountId: id,
        claims: async () => ({ sub: id, preferred_username: id, ...account(id)?.claims }),
      };
    },
  });
  provider.use(interactions(provider));
  provider.on('server_error', (ctx, error) => console.error(error));
  for (const event of ['authorization.error', 'grant.error', 'backchannel.error']) {
    provider.on(event, (ctx, error) => console.error(event, error.message, error.error_detail ?? ''));
  }
  return provider;
}

const page = (content) => `<!DOCTYPE html><html><head><title>Lab sign-in</title></head><body>${content}</body></html>`;
const loginForm = (said) => page(`<p id="said">${said}</p><form method="post">
<input name="login" autofocus><input name="password" type="password"><button id="go">Sign in</button></form>`);

async function form(request) {
  let text = '';
  for await (const part of request) {
    text += part;
    if (text.length > 8192) throw new Error('too long');
  }
  return new URLSearchParams(text);
}

// Who signs in has to know the password; consent is given for whatever a client of the file asks.
function interactions(provider) {
  return async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) return next();
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    if (details.prompt.name === 'consent') return finish(provider, ctx, { consent: { grantId: await consent(provider, details) } });
    ctx.type = 'html';
    if (ctx.method !== 'POST') {
      ctx.body = loginForm('');
      return undefined;
    }
    const fields = await form(ctx.req);
    const known = account(fields.get('login') ?? '');
    if (!known || !same(known.password, fields.get('password') ?? '')) {
      ctx.body = loginForm('Wrong name or password');
      return undefined;
    }
    const amr = known.mfa ? ['pwd', 'otp', 'mfa'] : ['pwd'];
    return finish(provider, ctx, { login: { accountId: fields.get('login'), amr, ...(known.acr && { acr: known.acr }) } });
  };
}

async function consent(provider, { grantId, session, params, prompt }) {
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(prompt.details.missingOIDCScope?.join(' ') ?? params.scope);
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  return grant.save();
}

async function finish(provider, ctx, result) {
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
}

let key = newKey();
let handle = makeProvider(key).callback();
const serve = (request, response) => handle(request, response);
const tls = settings.certificate && { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) };
const servers = settings.listen.map((where) => {
  const server = tls ? https.createServer(tls, serve) : http.createServer(serve);
  return new Promise((done, failed) => server.once('error', failed).listen(where, () => done(server)));
});

function announce(listening) {
  const ports = listening.map((server) => server.address().port);
  writeFileSync(`${settings.ready}.new`, JSON.stringify({ pid: process.pid, ports, kid: key.kid }));
  renameSync(`${settings.ready}.new`, settings.ready);
}

Promise.all(servers).then((listening) => {
  announce(listening);
  process.on('SIGUSR2', () => {
    key = newKey();
    handle = makeProvider(key).callback();
    announce(listening);
  });
  process.on('SIGTERM', () => process.exit(0));
});
