// OHIF 3.13 against this archive. Copy over `dist/app-config.js` of @ohif/app.
//
// The one line to change: the DICOMweb base URL as the *browser* sees it.
// Another origin than OHIF's own: the archive must allow that origin,
//   BFR_CORS_ORIGINS='["https://viewer.example.org"]' bfr-dicomweb serve
// (pages of the same machine are always allowed).
// The same origin (both behind one proxy): a path is enough, '/dicomweb'.
const archive = 'http://127.0.0.1:8080/dicomweb';

window.config = {
  name: 'bfr-dicomweb',
  routerBasename: null, // a path such as '/viewer' when OHIF is not served from '/'
  extensions: [],
  modes: [],
  customizationService: {
    global: {
      // OHIF filters once more what a search has found, and its own filter knows no å without
      // the ring: "akerstrom" would be found and then hidden. Here the archive alone decides.
      'workList.columns': {
        $apply: columns =>
          columns.map(column =>
            ['patient', 'mrn', 'description', 'accession'].includes(column.id)
              ? { ...column, filterFn: () => true }
              : column
          ),
      },
    },
  },
  showStudyList: true,
  showLoadingIndicator: true,
  showErrorDetails: 'always',
  // OHIF asks the user before it reads from another origin than its own.
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false,
  strictZSpacingForVolumeViewport: true,
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'archive',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'archive',
      configuration: {
        friendlyName: 'bfr-dicomweb',
        name: 'archive',
        qidoRoot: archive,
        wadoRoot: archive,
        wadoUriRoot: archive,
        // The archive returns the attributes that a search asks for.
        qidoSupportsIncludeField: true,
        // *akerstrom* finds Åkerström: letters are compared without case and marks.
        supportsWildcard: true,
        // True would make a name match by sound as well.
        supportsFuzzyMatching: false,
        // Series by series, so that the first picture does not wait for the whole study.
        enableStudyLazyLoad: true,
        // Frames are sent as stored; the browser decodes them.
        imageRendering: 'wadors',
        // Thumbnails are made by the browser, of the frame that it loads anyway.
        thumbnailRendering: 'wadors',
        // Bulk data comes as a single part: some readers of it in OHIF know no other form.
        // Films and documents are loaded by the browser itself, from /rendered.
        singlepart: 'bulkdata,video,pdf',
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
        // Unquoted, the Accept header of a frame needs no CORS preflight: half the requests.
        omitQuotationForMultipartRequest: true,
        // What is drawn is saved: measurements (SR) and segmentations (SEG) by STOW-RS.
        dicomUploadEnabled: true,
        supportsReject: false,
      },
    },
  ],
};
