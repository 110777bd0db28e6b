// Driver of kafkajs 2.2.4 (see ../README.md). It opens with ApiVersions 2 and writes its own batches, with no idempotence
// unless asked, and no topic ids.

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')
// lz4js writes dependent blocks, which Kafka refuses; this one writes the frames that Kafka asks for.
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
})
const zstd = new Promise((ready) => ZstdCodec.run((zstd) => ready(new zstd.Streaming())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

const say = (fields) => process.stdout.write(JSON.stringify(fields) + '\n')
const client = (bootstrap) => new Kafka({ clientId: 'suite', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING })

async function withAdmin(bootstrap, ask) {
  const admin = client(bootstrap).admin()
  await admin.connect()
  try {
    return await ask(admin)
  } finally {
    await admin.disconnect()
  }
}

// One broker that died is asked again more often than kafkajs would by itself; what hangs is left after five seconds.
function transactional(bootstrap, transactionalId) {
  const settings = { clientId: 'suite', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING, requestTimeout: 5000 }
  const kafka = new Kafka({ ...settings, retry: { initialRetryTime: 50, maxRetryTime: 1000, retries: 15 } })
  return [kafka, kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, transactionTimeout: 10000 })]
}

/** After a commit that failed, kafkajs can neither commit nor abort: the outcome is unknown and the producer of no more use. */
class Unknown extends Error {}

async function commit(transaction) {
  try {
    await transaction.commit()
  } catch (failure) {
    throw new Unknown(`${failure.name}: ${failure.message}`)
  }
}

const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

const commands = {
  async create(bootstrap, topic, partitions, ...configs) {
    const configEntries = configs.map((pair) => ({ name: pair.split('=')[0], value: pair.split('=')[1] }))
    const topics = [{ topic, numPartitions: Number(partitions), configEntries }]
    const made = await withAdmin(bootstrap, (admin) => admin.createTopics({ topics }))
    if (!made) throw new Error('the topic exists')
    say({ created: topic })
  },

  async produce(bootstrap, topic, codec, acks, idempotent, count, baseMs) {
    const producer = client(bootstrap).producer({ idempotent: idempotent === '1', maxInFlightRequests: 1 })
    await producer.connect()
    const messages = []
    for (let i = 0; i < Number(count); i++) {
      const value = `value-${i}-` + 'x'.repeat(100)
      messages.push({ key: `key-${i % 10}`, value, headers: { h: String(i) }, timestamp: String(Number(baseMs) + i) })
    }
    const compression = CompressionTypes[codecs[codec]]
    const sent = await producer.send({ topic, messages, compression, acks: acks === 'all' ? -1 : Number(acks) })
    await producer.disconnect()
    // kafkajs reports one base offset per partition; the suite learns the rest by reading back.
    for (const { partition, baseOffset, errorCode } of sent) {
      if (errorCode) throw new Error(`partition ${partition}: error ${errorCode}`)
      say({ base: Number(baseOffset === undefined ? -1 : baseOffset), partition })
    }
  },

  async consume(bootstrap, topic, count) {
    // kafkajs reads only through a group.
    const consumer = client(bootstrap).consumer({ groupId: `consume-${topic}-${process.pid}`, rebalanceTimeout: 6000 })
    await consumer.connect()
    await consumer.subscribe({ topic, fromBeginning: true })
    let left = Number(count)
    if (left) {
      await new Promise((done, fail) => {
        setTimeout(() => fail(new Error(`${left} of ${count} records are missing after 30 s`)), 30000).unref()
        consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error))
        const eachMessage = async ({ partition, message }) => {
          if (!left) return
          const headers = {}
          for (const name of Object.keys(message.headers || {})) headers[name] = message.headers[name].toString()
          const { offset, timestamp, key, value } = message
          say({ partition, offset: Number(offset), timestamp: Number(timestamp), key: `${key}`, value: `${value}`, headers })
          left -= 1
          if (!left) done()
        }
        consumer.run({ autoCommit: false, eachMessage }).catch(fail)
      })
    }
    await consumer.disconnect()
  },

  async member(bootstrap, topic, groupId) {
    const consumer = client(bootstrap).consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 6000 })
    await consumer.connect()
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => say({ assigned: (payload.memberAssignment[topic] || []).sort() }))
    consumer.on(consumer.events.CRASH, ({ payload }) => say({ error: String(payload.error) }))
    await consumer.subscribe({ topic, fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const next = Number(message.offset) + 1
        say({ partition, offset: Number(message.offset), key: `${message.key}`, value: `${message.value}` })
        await consumer.commitOffsets([{ topic, partition, offset: String(next) }])
        say({ committed: next, partition })
      },
    })
    await new Promise(() => {})
  },

  async transform(bootstrap, source, sink, groupId, id, abortEvery) {
    const [kafka, producer] = transactional(bootstrap, id)
    await producer.connect()
    // Only the first transaction asks for a producer id, which ends what a predecessor left open: before the offsets are read.
    await (await producer.transaction()).abort()
    const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 6000 })
    await consumer.connect()
    await consumer.subscribe({ topic: source, fromBeginning: true })
    let number = 0
    const fatal = new Promise((_, fail) => {
      // kafkajs joins again by itself after what it holds for retriable.
      consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || fail(payload.error))
      const eachBatch = async ({ batch, resolveOffset, isRunning, isStale }) => {
        for (let from = 0; from < batch.messages.length && isRunning() && !isStale(); ) {
          const messages = batch.messages.slice(from, from + 50)
          const following = String(Number(messages[messages.length - 1].offset) + 1)
          number += 1
          let transaction
          try {
            transaction = await producer.transaction()
            const values = messages.map(({ value }) => ({ partition: batch.partition, value }))
            await transaction.send({ topic: sink, messages: values })
            const topics = [{ topic: source, partitions: [{ partition: batch.partition, offset: following }] }]
            await transaction.sendOffsets({ consumerGroupId: groupId, topics })
            if (number % Number(abortEvery) === 0) throw new Error('on purpose')
            await commit(transaction)
            from += messages.length
            resolveOffset(messages[messages.length - 1].offset)
            say({ committed: messages.length })
          } catch (failure) {
            // A successor has the id: an abort with nothing in the transaction would succeed, again and again.
            const fenced = ['INVALID_PRODUCER_EPOCH', 'PRODUCER_FENCED'].includes(failure.type)
            if (failure instanceof Unknown || !transaction || fenced) return fail(failure)
            // A failed abort leaves the producer of no more use.
            await transaction.abort().catch(fail)
            say({ aborted: messages.length, why: `${failure.name}: ${failure.message}` })
          }
        }
      }
      consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch }).catch(fail)
    })
    await fatal
  },

  async transact(bootstrap, topic, partitions, id, first, everyMs, abortEvery) {
    let ended = false
    process.stdin.on('end', () => (ended = true)).resume()
    const [, producer] = transactional(bootstrap, id)
    await producer.connect()
    const now = () => Number(process.hrtime.bigint() / 1000n)
    for (let number = Number(first); !ended; number += 1) {
      const chosen = [...Array(Number(partitions)).keys()].filter((p) => (number + p) % 3 > 0)
      const began = now()
      const tell = (outcome, why) => say({ transaction: number, outcome, began, ended: now(), partitions: chosen, why: why && `${why}` })
      const transaction = await producer.transaction()
      let why
      try {
        // One partition per call: kafkajs remembers which brokers have answered a call, and when a leader moves among them while it
        // tries again, it leaves that partition out or sends it twice.
        for (const partition of chosen) await transaction.send({ topic, messages: [{ partition, value: `${id}/${number}` }] })
        if (number % Number(abortEvery)) {
          await commit(transaction)
          tell('committed')
          continue
        }
      } catch (failure) {
        if (failure instanceof Unknown) {
          tell('unknown', failure)
          throw failure
        }
        why = failure
      }
      try {
        await transaction.abort()
      } finally {
        tell('aborted', why)
      }
      await new Promise((done) => setTimeout(done, Number(everyMs)))
    }
  },

  async offsets(bootstrap, topic, timestamp) {
    const found = await withAdmin(bootstrap, (admin) => admin.fetchTopicOffsetsByTimestamp(topic, Number(timestamp)))
    for (const { partition, offset } of found) say({ partition, offset: Number(offset) })
  },

  async configs(bootstrap, topic) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
    const answer = await withAdmin(bootstrap, (admin) => admin.describeConfigs({ resources, includeSynonyms: false }))
    const configs = {}
    for (const entry of answer.resources[0].configEntries) configs[entry.configName] = entry.configValue
    say({ configs })
  },

  async alter(bootstrap, topic, setting) {
    const [name, value] = setting.split('=')
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }]
    await withAdmin(bootstrap, (admin) => admin.alterConfigs({ resources, validateOnly: false }))
    say({ altered: name })
  },

  async delete(bootstrap, topic) {
    await withAdmin(bootstrap, (admin) => admin.deleteTopics({ topics: [topic] }))
    say({ deleted: topic })
  },
}

const [name, ...parameters] = process.argv.slice(2)
commands[name](...parameters).then(
  () => process.exit(0),
  (error) => {
    say({ error: `${error.name}: ${error.message}` })
    process.exit(1)
  },
)
