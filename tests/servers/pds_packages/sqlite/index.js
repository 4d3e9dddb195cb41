'use strict'
// What the PDS and kysely ask of better-sqlite3, answered by the SQLite that Node carries. Nothing is
// compiled, so `npm ci --ignore-scripts` is a whole installation.

const { DatabaseSync } = require('node:sqlite')

// node:sqlite reports SQLite's extended result code as a number; callers compare the names of some.
const NAMES = new Map([
  [5, 'SQLITE_BUSY'],
  [6, 'SQLITE_LOCKED'],
  [19, 'SQLITE_CONSTRAINT'],
  [1555, 'SQLITE_CONSTRAINT_PRIMARYKEY'],
  [2067, 'SQLITE_CONSTRAINT_UNIQUE'],
])

class SqliteError extends Error {}

function named(work) {
  try {
    return work()
  } catch (error) {
    const name = NAMES.get(error.errcode)
    if (name) error.code = name
    throw error
  }
}

const bound = (value) => {
  if (value === undefined) return null
  return typeof value === 'boolean' ? Number(value) : value
}

const given = (values) => {
  const list = values.length === 1 && Array.isArray(values[0]) ? values[0] : values
  return list.map(bound)
}

// Blobs must be Buffers: callers use Buffer's own methods on them.
function row(found) {
  for (const [column, value] of Object.entries(found)) {
    if (value instanceof Uint8Array) found[column] = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  }
  return found
}

class Statement {
  #inner
  constructor(inner) {
    this.#inner = inner
    this.reader = inner.columns().length > 0
  }
  run(...values) {
    return named(() => this.#inner.run(...given(values)))
  }
  get(...values) {
    const found = named(() => this.#inner.get(...given(values)))
    return found === undefined ? undefined : row(found)
  }
  all(...values) {
    return named(() => this.#inner.all(...given(values))).map(row)
  }
  *iterate(...values) {
    for (const found of this.#inner.iterate(...given(values))) yield row(found)
  }
}

class Database {
  #inner
  constructor(name, options = {}) {
    this.name = name
    this.#inner = new DatabaseSync(name, { readOnly: Boolean(options.readonly), timeout: options.timeout ?? 5000 })
    this.open = true
  }
  prepare(sql) {
    return new Statement(named(() => this.#inner.prepare(sql)))
  }
  exec(sql) {
    named(() => this.#inner.exec(sql))
    return this
  }
  pragma(text, options = {}) {
    const rows = this.prepare(`PRAGMA ${text}`).all()
    if (!options.simple) return rows
    return rows.length ? Object.values(rows[0])[0] : undefined
  }
  close() {
    if (this.open) this.#inner.close()
    this.open = false
    return this
  }
}

module.exports = Object.assign(Database, { default: Database, SqliteError })
