// Uploads with tus-js-client in every way that it has: node tus_js_client.cjs MODULE ORIGIN FOLDER
// Prints one line of JSON: for each way the names of contents and the references that came of them.
'use strict'
const {createHash} = require('node:crypto')
const {join} = require('node:path')
const {PassThrough} = require('node:stream')
const [, , module_, origin, folder] = process.argv
const tus = require(module_)

const MIB = 1024 * 1024
const contents = {}
const urlStorage = new tus.FileUrlStorage(join(folder, 'urls.json'))

// Bytes that differ from way to way, and do not repeat within a part.
function bytes(name, length) {
    const blocks = []
    let block = createHash('sha512').update(name).digest()
    for (let n = 0; n < length; n += block.length) blocks.push(block = createHash('sha512').update(block).digest())
    contents[name] = createHash('sha256').update(Buffer.concat(blocks).subarray(0, length)).digest('hex')
    return Buffer.concat(blocks).subarray(0, length)
}

function run(content, options, prepare = () => {}) {
    return new Promise((resolve, reject) => {
        const upload = new tus.Upload(content, {
            endpoint: `${origin}/documents/uploads`,
            metadata: {filename: 'file.bin', filetype: 'application/octet-stream'},
            retryDelays: [100, 300, 1000, 3000],
            onError: reject,
            onSuccess: ({lastResponse}) =>
                resolve({upload, reference: lastResponse.getHeader('Filestore-Reference'), status: lastResponse.getStatus()}),
            ...options,
        })
        Promise.resolve(prepare(upload, resolve)).then(() => upload.start(), reject)
    })
}

// Begin, and stop when more than half has been sent; the server may still be reading.
function stop(content, options, terminate) {
    let stopped = false
    return new Promise((resolve, reject) => {
        const upload = new tus.Upload(content, {
            endpoint: `${origin}/documents/uploads`,
            metadata: {filename: 'file.bin', filetype: 'application/octet-stream'},
            chunkSize: MIB,
            onError: reject,
            onSuccess: () => reject(new Error('it was not stopped')),
            onChunkComplete: (_, sent) => {
                if (stopped || sent < content.length / 2) return
                stopped = true
                upload.abort(terminate).then(() => resolve(upload), reject)
            },
            ...options,
        })
        upload.start()
    })
}

async function resume(upload) {
    const [previous] = await upload.findPreviousUploads()
    if (previous) upload.resumeFromPreviousUpload(previous)
}

async function take(reference) {
    const said = {method: 'POST', headers: {'Content-Type': 'application/json'}}
    const answer = await fetch(`${origin}/documents/json`, {...said, body: JSON.stringify({title: 'x', file: reference})})
    if (answer.status !== 201) throw new Error(await answer.text())
}

async function main() {
    const done = {}
    const note = async (name, made) => { done[name] = [name, (await made).reference] }
    await note('whole', run(bytes('whole', 12 * MIB + 77), {}))
    await note('chunks', run(bytes('chunks', 5 * MIB + 1), {chunkSize: MIB}))
    await note('creation', run(bytes('creation', 300_000), {uploadDataDuringCreation: true}))
    await note('parallel', run(bytes('parallel', 9 * MIB), {parallelUploads: 3}))
    // Not from a file: of one, tus-js-client (4.3.1) announces a whole chunk at the end and sends less.
    const stream = new PassThrough()
    stream.end(bytes('deferred', 3 * MIB + 5))
    await note('deferred', run(stream, {uploadLengthDeferred: true, chunkSize: MIB}))
    await note('empty', run(bytes('empty', 0), {}))

    const kept = {urlStorage, storeFingerprintForResuming: true}
    const resumed = bytes('resumed', 8 * MIB)
    const first = await stop(resumed, kept, false)
    const second = await run(resumed, {...kept, removeFingerprintOnSuccess: true}, resume)
    if (first.url !== second.upload.url) throw new Error('it has begun again')
    done.resumed = ['resumed', second.reference]

    const gone = await stop(bytes('terminated', 4 * MIB), {}, true)
    const answer = await fetch(gone.url, {method: 'HEAD', headers: {'Tus-Resumable': '1.0.0'}})
    if (answer.status !== 404) throw new Error(`a terminated upload answers ${answer.status}`)

    // The same file three times: the first one's URL is asked, until a row has taken its file.
    const same = bytes('same', 2 * MIB)
    const once = await run(same, kept)
    const twice = await run(same, kept, resume)
    if (once.upload.url !== twice.upload.url) throw new Error('it has been sent again, although no row has it')
    await take(twice.reference)
    const thrice = await run(same, kept, resume)
    if (once.upload.url === thrice.upload.url) throw new Error('the file of a row was given away again')
    done.same = ['same', thrice.reference]

    for (const [, reference] of Object.values(done)) await take(reference)
    console.log(JSON.stringify(Object.values(done).map(([name]) => contents[name]).concat(contents.same)))
}

main().catch(error => { console.error(error); process.exit(1) })
