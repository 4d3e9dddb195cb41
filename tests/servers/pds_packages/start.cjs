'use strict'
// Starts one server for tests, on 127.0.0.1 only, and prints one line of JSON when it answers:
//
//   node start.cjs '{"server": "plc"}'
//   node start.cjs '{"server": "pds", "plc": URL, "data": DIRECTORY, "port": 0, "limits": false}'
//
// The PLC directory lives in memory and in its own process, so that a PDS can be killed and started again
// on its data. All secrets are constants: a session outlives the process that gave it. A server ends with
// whoever started it: when its standard input is closed.

const fs = require('node:fs')
const http = require('node:http')
const net = require('node:net')
const path = require('node:path')
const { createHash } = require('node:crypto')

const HOST = '127.0.0.1'

// Both packages listen on every interface; nothing of a test may be reachable from elsewhere.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (first, ...rest) {
  if (typeof first !== 'number' || typeof rest[0] === 'string') return listen.call(this, first, ...rest)
  return listen.call(this, first, HOST, ...rest)
}

const secret = (name) => createHash('sha256').update(`for tests only: ${name}`).digest('hex')

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen(0, HOST, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function plc() {
  const { PlcServer, Database } = require('@did-plc/server')
  const port = await freePort()
  const server = PlcServer.create({ db: Database.mock(), port })
  await server.start()
  return { url: `http://localhost:${port}`, stop: () => server.destroy() }
}

// Public clients ask an AppView for the profile of who logs in, and fail without an answer. This is one.
async function profiles() {
  const port = await freePort()
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost')
    const known = url.pathname === '/xrpc/app.bsky.actor.getProfile'
    const actor = url.searchParams.get('actor') ?? ''
    const token = (request.headers.authorization ?? '').split('.')[1] ?? ''
    let did = actor
    if (known && !actor.startsWith('did:')) did = JSON.parse(Buffer.from(token, 'base64url').toString()).iss
    response.writeHead(known ? 200 : 501, { 'content-type': 'application/json' })
    response.end(JSON.stringify(known ? { did, handle: actor } : { error: 'MethodNotImplemented' }))
  })
  await new Promise((resolve) => server.listen(port, HOST, resolve))
  return { url: `http://localhost:${port}`, did: `did:web:localhost%3A${port}`, stop: () => server.close() }
}

async function pds(wanted) {
  const { PDS, envToCfg, envToSecrets } = await import('@atproto/pds')
  const appView = await profiles()
  const port = wanted.port || (await freePort())
  const blobs = path.join(wanted.data, 'blobs')
  const blobsBefore = path.join(wanted.data, 'blobs-before')
  for (const directory of [blobs, blobsBefore]) fs.mkdirSync(directory, { recursive: true })
  const settings = {
    devMode: true,
    version: 'tests',
    hostname: 'localhost',
    port,
    dataDirectory: wanted.data,
    blobstoreDiskLocation: blobs,
    blobstoreDiskTmpLocation: blobsBefore,
    blobUploadLimit: 64 * 1024 * 1024,
    didPlcUrl: wanted.plc,
    bskyAppViewUrl: appView.url,
    bskyAppViewDid: appView.did,
    serviceHandleDomains: ['.test'],
    inviteRequired: false,
    rateLimitsEnabled: Boolean(wanted.limits),
    crawlers: [],
    disableSsrfProtection: true,
    jwtSecret: secret('jwt'),
    dpopSecret: secret('dpop'),
    adminPassword: secret('admin'),
    plcRotationKeyK256PrivateKeyHex: secret('rotation'),
  }
  const server = await PDS.create(envToCfg(settings), envToSecrets(settings))
  await server.start()
  const stop = async () => {
    await server.destroy()
    appView.stop()
  }
  return { url: `http://localhost:${port}`, stop }
}

async function main() {
  const wanted = JSON.parse(process.argv[2])
  const server = await { plc, pds }[wanted.server](wanted)
  console.log(JSON.stringify({ url: server.url }))
  process.stdin.resume().on('end', async () => {
    await server.stop()
    process.exit(0)
  })
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
