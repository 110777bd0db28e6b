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
const client = (bootstrap) => new Kafka({ clientId: 'suite', brokers: [bootstrap], logLevel: logLevel.NOTHING })

async function withAdmin(bootstrap, ask) {
  const admin = client(bootstrap).admin()
  await admin.connect()
  try {
    return await ask(admin)
  } finally {
    await admin.disconnect()
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
